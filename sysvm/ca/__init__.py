"""The built-in certificate authority: day-long certificates for hosts and system VMs. Knows keys and names, no database."""
