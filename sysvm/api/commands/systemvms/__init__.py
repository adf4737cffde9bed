"""Console proxies, secondary storage VMs and routers, as machines: their life, health, versions and diagnosis."""
