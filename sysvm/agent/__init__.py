"""The program inside system VMs: it makes the document that its host hands over true, and says what is live.

- `main.py`        the process: boot, restore, link, signals
- `paths.py`       every path it touches
- `boot.py`        who am I; the NICs' first addresses
- `seal.py`, `documents.py`, `ledger.py`   what survives a restart
- `transport.py`   the stream to the host: unix socket or virtio-serial port
- `line.py`        what a role says and asks over it
- `core.py`        serves the host's calls
- `supervision.py` services under s6
- `roles/`         what the machine is for

It imports only the standard library, msgspec, `wire` and `basics`. It holds no token and no certificate of a link, and it
has no opinion of its own: what is wanted comes whole, and a restart without any server applies the last of it.
"""
