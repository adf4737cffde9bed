"""The secondary storage VM: brings images in from URLs, keeps them, hands them to hosts.

- `source.py`    URLs, strictly (pure)            - `formats.py`, `qcow2.py`, `disks.py`  what bytes are (pure)
- `addresses.py` what may be fetched from (pure)  - `checksum.py`  what was promised (pure)
- `fetch.py`     one HTTP exchange                - `store.py`     content-addressed, crash-safe
- `transfer.py`  a whole download                 - `images.py`    what hosts fetch, with tickets
- `incoming.py`  its durable record               - `selfcheck.py` what is wrong, in words
- `copying.py`   from store to store              - `mounting.py`  NFS shares, kept mounted
- `chunks.py`, `patching.py`, `giving.py`  from zone to zone: only what the other side lacks
- `unpack.py`    compressed sources               - `role.py`      the document made true
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sysvm.agent.roles import Context
    from sysvm.agent.roles.secstorage.role import SecStorageRole


def make(context: "Context") -> "SecStorageRole":
    """The role of a secondary storage VM."""
    from sysvm.agent.roles.secstorage.role import SecStorageRole

    return SecStorageRole(context)
