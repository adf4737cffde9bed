"""Files of a server's state folder that other programs read."""

PASSWORD_FILE = "admin-password"  # of the first administrator; only root reads it
LOGIN_KEY_FILE = "login-key"  # opens system VMs by ssh on their control NIC, port 3922; only root reads it
READY_FILE = "ready"  # holds the process id of the server that listens
