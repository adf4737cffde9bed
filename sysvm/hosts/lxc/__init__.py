"""Containers: the LXC driver (driver.py) and its parts."""

from sysvm.hosts.lxc.driver import LxcDriver

__all__ = ["LxcDriver"]
