"""What the serving roles (console proxy, secondary storage) share: ports, certificates, HTTP sites, memory settings."""
