"""The command `sysvm`: puts the parts together. Policy lives below."""
