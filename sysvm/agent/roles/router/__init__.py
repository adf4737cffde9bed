"""The router: one module per service, each with the same steps.

    parse     the part of the document that is the service's own, into typed values; raises Wrong
    render    typed values into files or a ruleset (pure)
    apply     makes the rendering live
    difference  what kernel and daemon say, against the rendering; empty when it is live

- `role.py`        the router as a whole, the watch for drift
- `service.py`     what all services share
- `interfaces.py`  addresses, routes, forwarding
- `routes.py`      static routes of a VPC; `acls.py` says what passes between its tiers
- `dnsmasq.py`     DHCP and DNS
- `nftables.py`    NAT, firewall, egress, counters: one atomic ruleset
- `metadata.py`    user data, metadata, passwords
- `haproxy.py`     load balancer; `balancing.py` and `stickiness.py` say its configuration, `doors.py` what is opened for it
- `ipsec.py`       remote access VPN; `ipsec_vici.py` speaks to strongSwan
"""
