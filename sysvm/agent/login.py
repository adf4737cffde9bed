"""Operators' ways into a system VM: ssh with the cloud's key on the control NIC, and root's password on the text console.

The ssh daemon listens on the control address alone, which only the machine's own host can reach, and takes no password. Its
host key is made at the first use and stays on the state disk, so that a replaced incarnation is known again. The console has a
login on its first terminal; nobody can use it until the operator has set a password.
Blocking: the caller is on a thread. Everything is safe to repeat.
"""

import hashlib
import shutil
from ipaddress import ip_interface

from sysvm.agent.command import run
from sysvm.agent.paths import Paths
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.agent.terminal import TERMINAL, login
from sysvm.wire.documents import Login
from sysvm.wire.machines import BootData, Runtime, Traffic

PORT = 3922  # as CloudStack
_SSHD = "sshd"
_CONFIG = """\
ListenAddress {address}:{port}
HostKey {state}/ssh_host_ed25519_key
AuthorizedKeysFile {run}/authorized_keys
PermitRootLogin prohibit-password
AllowUsers root
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
AllowTcpForwarding no
X11Forwarding no
"""


def ensure(paths: Paths, boot: BootData, wanted: Login | None) -> None:
    """Whoever may log in can, and nobody else. Raises CommandFailed or OSError."""
    address = control_address(boot)
    supervision = Supervision(paths)
    if wanted is not None and wanted.public_key and address:
        _serve(paths, supervision, wanted.public_key, address)
    else:
        supervision.remove(_SSHD)
    if wanted is not None:
        _set_password(paths, boot, wanted.password)
        if wanted.password and boot.runtime is Runtime.VM and (paths.devices / TERMINAL).exists():
            supervision.ensure(login(shutil.which("agetty") or "/usr/sbin/agetty"))


def control_address(boot: BootData) -> str:
    """Where the host reaches this machine; empty when it has no control NIC."""
    nics = [nic for nic in boot.nics if nic.segment.traffic is Traffic.CONTROL and nic.addresses]
    return str(ip_interface(nics[0].addresses[0]).ip) if nics else ""


def _serve(paths: Paths, supervision: Supervision, public_key: str, address: str) -> None:
    folder = paths.run / "ssh"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (paths.root / "run/sshd").mkdir(mode=0o755, exist_ok=True)  # where the daemon locks its helpers in
    host_key = paths.state / "ssh_host_ed25519_key"
    if not host_key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sysvm", "-f", str(host_key))
    write_if_changed(folder / "authorized_keys", f"{public_key}\n".encode(), 0o600)
    config = _CONFIG.format(address=address, port=PORT, state=paths.state, run=folder)
    changed = write_if_changed(folder / "sshd_config", config.encode(), 0o600)
    before = supervision.pid(_SSHD)
    supervision.ensure(Daemon(_SSHD, f"#!/bin/sh\nexec /usr/sbin/sshd -D -e -f {folder}/sshd_config\n"))
    if changed and before and before == supervision.pid(_SSHD):
        supervision.restart(_SSHD)


def _set_password(paths: Paths, boot: BootData, password: str) -> None:
    """Root's password, hashed; `*`, which no password gives, when there is none."""
    place = paths.root / "etc/shadow"
    lines = place.read_text().splitlines()
    hashed = _hashed(password, boot) if password else "*"
    wanted = [_with_hash(line, hashed) if line.startswith("root:") else line for line in lines]
    if wanted != lines:
        write_if_changed(place, "".join(f"{line}\n" for line in wanted).encode(), 0o640)


def _hashed(password: str, boot: BootData) -> str:
    # The same salt each time, so that a look tells whether anything has changed; another one for each machine.
    salt = hashlib.sha256(boot.state_key.encode()).hexdigest()[:16]
    return run("openssl", "passwd", "-6", "-salt", salt, "-stdin", said=f"{password}\n").strip()


def _with_hash(line: str, hashed: str) -> str:
    fields = line.split(":")
    fields[1] = hashed
    return ":".join(fields)
