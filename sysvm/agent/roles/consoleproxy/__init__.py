"""The console proxy: browsers on the public side, relays of hosts on the management side, bytes between them.

- `sessions.py`  who is here (sans-IO)         - `knock.py`   who may come in (pure)
- `rfb.py`       what viewers say (sans-IO)    - `control.py` frames between page and proxy (pure)
- `viewer.py`    one browser's websocket       - `relay.py`   one screen's connection
- `desk.py`      brings both together          - `pages.py`   the page, the status command
- `role.py`      the document made true
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sysvm.agent.roles import Context
    from sysvm.agent.roles.consoleproxy.role import ConsoleProxyRole


def make(context: "Context") -> "ConsoleProxyRole":
    """The role of a console proxy."""
    from sysvm.agent.roles.consoleproxy.role import ConsoleProxyRole

    return ConsoleProxyRole(context)
