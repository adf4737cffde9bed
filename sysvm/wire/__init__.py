"""Messages and documents: the only thing that both sides of a link import.

Everything is a frozen msgspec Struct, encoded as MessagePack in frames (`frames.py`). Unknown fields are ignored and
new fields have defaults, so that a release speaks with the one before and the one after it. No policy lives here.

- `frames.py`     bytes on a stream -> messages
- `envelope.py`   call, answer, notice
- `peer.py`       one end of a link: sends calls, awaits answers, serves the other end's calls
- `machines.py`   what a host is asked to run, and what it sees
- `documents.py`  the complete configuration of a system VM or of a host
- `link.py`       host agent <-> management server
- `channel.py`    system VM agent <-> its host
"""
