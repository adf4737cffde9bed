"""An operator's ways into a system VM: ssh with the cloud's key from its host, and the text console with a password."""

import subprocess

import pytest

from tests.boot.login import ssh
from tests.boot.patience import NotYet
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_an_operator_logs_in_with_the_clouds_key_and_reads_what_is_wrong(demo: World):
    """With the key and not without it; `ssvm-check` names its six things."""

    def checked() -> str:
        done = ssh(demo, "ssvm-check")
        if done.returncode not in (0, 1):
            raise NotYet(done.stderr)
        return done.stdout

    said = demo.until(checked, "the secondary storage VM lets the operator in")
    found = {line.split(": ")[1]: line.split(": ")[0] for line in said.splitlines()}
    assert {"DNS", "store", "server", "agent", "disk", "clock"} == found.keys(), said
    assert all(found[name] == "Good" for name in ("store", "server", "agent", "disk", "clock")), said
    assert "Permission denied" in ssh(demo, "true", key=False).stderr


def test_the_console_takes_a_password_only_when_the_operator_has_set_one(demo: World):
    """What is checked is what login(1) checks: the hash in the machine's own shadow file."""

    def field() -> str:
        return ssh(demo, "grep", "^root:", "/etc/shadow").stdout.split(":")[1]

    def settled(good: str) -> bool:
        if not field().startswith(good):
            raise NotYet(f"root's password is {field()[:3]}")
        return True

    assert field() == "*"
    demo.client.call("updateConfiguration", name="system.vm.password", value="a good word")
    demo.client.call("updateConfiguration", name="system.vm.random.password", value="true")
    try:
        assert demo.until(lambda: settled("$6$"), "the password is set")
        salt = field().split("$")[2]
        right = subprocess.run(
            ["openssl", "passwd", "-6", "-salt", salt, "a good word"], capture_output=True, text=True, check=True
        )
        assert field() == right.stdout.strip()
        assert "agetty" in ssh(demo, "ps", "-o", "args", "ax").stdout or ssh(demo, "ls", "/run/service/console").stdout
    finally:
        demo.client.call("updateConfiguration", name="system.vm.random.password", value="false")
    assert demo.until(lambda: settled("*"), "the password is gone")
