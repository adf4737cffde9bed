"""sysvm: a cloud manager whose system VMs look after themselves."""

__version__ = "0.1.0"
