"""`sysvm demo`: a whole working zone on this machine, made through the API only; `sysvm down`: nothing of it is left.

- `places.py`      where things are: folders, addresses and ports of this clone
- `needs.py`       what has to be installed
- `uplink.py`      the demo's way to this machine
- `supervisor.py`  server and host agent as daemons, restarted when they die, with bounded logs
- `steps.py`       what is done in which order, each with its time
- `zone.py`        the zone, through the API
- `tenant.py`      a tenant's network, guests and rules, through the API
- `show.py`        the table at the end
- `down.py`        away with it
"""
