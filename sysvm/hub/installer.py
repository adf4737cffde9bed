"""Makes a machine a host over ssh: the host agent that is on it is started under a supervisor, with the token of first contact.

The program itself must be there already (a package, or a virtual environment in /opt/sysvm): what a server copies onto
hosts is what an intruder on the server copies onto hosts. Password and token go through the encrypted channel only: no
argument list, environment or log ever holds them. Running it again changes nothing but the token.

The host's key cannot be known beforehand; its fingerprint is answered, for an operator to compare.
"""

import itertools
import shlex
from dataclasses import dataclass

import asyncssh

from sysvm.basics.errors import NotYet, Refused

CONNECT_S = 20.0
LOGIN_S = 30.0
RUN_S = 90.0
AGAIN_S = 15.0
STATE = "/var/lib/sysvm"
MISSING, NO_SUPERVISOR = 81, 82
SCRIPT = """
set -eu
umask 077
PATH="$PATH:/usr/local/bin:/opt/sysvm/bin:/usr/sbin:/sbin"
program=$(command -v sysvm) || exit {missing}
mkdir -p {state}
cat > {state}/join-token <<'TOKEN'
{token}
TOKEN
run="$program agent host --state {state} {servers} --token-file {state}/join-token"
if [ -d /run/systemd/system ]; then
    cat > /etc/systemd/system/sysvm-host.service <<UNIT
[Unit]
Description=sysvm host agent
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=$run
Restart=always
RestartSec=2
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
    chmod 644 /etc/systemd/system/sysvm-host.service
    systemctl daemon-reload
    systemctl enable --quiet sysvm-host
    systemctl restart sysvm-host
elif command -v s6-svscan >/dev/null; then
    mkdir -p {state}/services/host/log {state}/logs/host
    printf '#!/bin/sh\\nexec 2>&1\\nexec %s\\n' "$run" > {state}/services/host/run
    printf '#!/bin/sh\\nexec s6-log n10 s1000000 %s\\n' {state}/logs/host > {state}/services/host/log/run
    chmod 755 {state}/services/host/run {state}/services/host/log/run
    if s6-svscanctl -a {state}/services 2>/dev/null; then
        s6-svc -r {state}/services/host 2>/dev/null || true
    else
        setsid s6-svscan {state}/services </dev/null >>{state}/logs/supervisor 2>&1 &
    fi
else
    exit {no_supervisor}
fi
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to be made a host, and by whom."""

    address: str
    port: int
    username: str
    password: str
    servers: tuple[str, ...]
    token: str  # TOKEN@FINGERPRINT


def parse_join(line: str) -> tuple[tuple[str, ...], str]:
    """Servers and token of `sysvm agent join --server A --server B --token T`."""
    words = shlex.split(line)
    pairs = list(itertools.pairwise(words))
    return tuple(value for name, value in pairs if name == "--server"), dict(pairs)["--token"]


def script(job: Installation) -> str:
    """What a root shell on the host reads."""
    return SCRIPT.format(
        state=STATE,
        token=job.token,
        servers=" ".join(f"--server {shlex.quote(server)}" for server in job.servers),
        missing=MISSING,
        no_supervisor=NO_SUPERVISOR,
    )


async def install(job: Installation) -> str:
    """Starts the agent; the fingerprint of the host's key. Raises Refused with what to do, or NotYet while nobody answers."""
    where = f"{job.address}:{job.port}"
    try:
        connection = await _connect(job)
    except asyncssh.PermissionDenied:
        raise Refused(
            f"{where} does not let {job.username} in with this password over ssh; check it and PermitRootLogin"
        ) from None
    except asyncssh.Error as error:
        raise Refused(f"ssh to {where} failed: {error.reason}") from None
    except OSError as error:
        raise NotYet(AGAIN_S, f"{where} does not answer on ssh: {error.strerror or error}") from None
    key = connection.get_server_host_key()
    async with connection:
        await _run(connection, job)
    return key.get_fingerprint() if key is not None else "unknown"


async def _connect(job: Installation) -> asyncssh.SSHClientConnection:
    """Nothing of the account that the server runs under is used: no keys, no agent, no configuration."""
    return await asyncssh.connect(
        job.address, job.port, username=job.username, password=job.password, known_hosts=None, client_keys=None,
        agent_path=None, config=[], connect_timeout=CONNECT_S, login_timeout=LOGIN_S,
    )  # fmt: skip


async def _run(connection: asyncssh.SSHClientConnection, job: Installation) -> None:
    shell = "sh -s" if job.username == "root" else "sudo -n sh -s"
    try:
        done = await connection.run(shell, input=script(job), timeout=RUN_S, check=False)
    except asyncssh.TimeoutError:
        raise Refused(f"{job.address} did not finish within {RUN_S:.0f} s") from None
    except asyncssh.Error as error:
        raise NotYet(AGAIN_S, f"ssh to {job.address} broke: {error.reason}") from None
    match done.exit_status:
        case 0:
            return
        case 81:
            raise Refused(
                f"there is no sysvm on {job.address}: install it there (pip install sysvm in /opt/sysvm), then remove the "
                "host and add it again, or run the join line that reconnectHost answers"
            )
        case 82:
            raise Refused(f"neither systemd nor s6 is on {job.address}; install s6, then remove the host and add it again")
    words = str(done.stderr or "").strip().splitlines()
    raise Refused(f"the installation on {job.address} failed: {words[-1] if words else f'exit {done.exit_status}'}")
