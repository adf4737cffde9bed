"""The images started for real: the template as a container and as an emulated VM, the tiny guest in both forms.

One start of each; what is asserted of a start is asserted in the order in which it happens.
"""

import base64
import re
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from machines import END, Container, Emulated, Line, container, disk, emulated, wait_for

from sysvm.agent.button import BUTTON
from sysvm.images import AgentLayer, Guest, Template

pytestmark = [pytest.mark.template, pytest.mark.root]

BOOT_JSON = '{"name": "r-4-VM"}\n'


def _processes(port: Line) -> set[str]:
    """The programs that run, the question itself apart."""
    return set(port.ask("ps -e -o comm=").split()) - {"sh", "ps"}


def _listening(port: Line) -> list[str]:
    """TCP and UDP sockets that wait for somebody."""
    found = port.ask("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6").splitlines()
    return [line for line in found if re.match(r"\s*\d+:", line) and line.split()[3] in ("0A", "07")]


def _agent_pid(port: Line) -> str:
    return port.ask("s6-svstat -o pid /run/service/agent").strip()


def _lives_as_supposed(port: Line) -> None:
    """What holds in both runtimes, once the agent is there."""
    assert _listening(port) == []
    assert port.ask("cat /sysvm/boot/boot.json") == BOOT_JSON
    assert port.ask("touch /sysvm/state/kept && ls -d /sysvm/host /sysvm/store").split() == [
        "/sysvm/host",
        "/sysvm/store",
    ]
    assert "stand-in agent started" in port.ask("cat /var/log/sysvm/current")
    assert port.ask("touch /sysvm/boot/x 2>&1 || echo read-only").splitlines()[-1] == "read-only"


def test_a_container_starts_its_agent_restarts_it_and_stops(template: Template, standin: AgentLayer, tmp_path: Path):
    """Only the agent and the logger run; a killed agent comes back; lxc-stop ends it by SIGPWR, without force."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/boot.json").write_text(BOOT_JSON)
    (tmp_path / "state").mkdir()
    binds = f"""lxc.mount.entry = {tmp_path}/boot sysvm/boot none bind,ro 0 0
lxc.mount.entry = {tmp_path}/state sysvm/state none bind 0 0
"""
    with container([standin.root, template.root], "/usr/lib/sysvm/init", binds) as machine:
        port = machine.port()
        port.until(END)
        assert _processes(port) == {"s6-svscan", "s6-supervise", "s6-log", "python3"}
        _lives_as_supposed(port)
        first = _agent_pid(port)
        port.say(f"kill -9 {first}")
        port = machine.port()
        port.until(END)
        assert _agent_pid(port) != first
        stopped = machine.command("lxc-stop", "-t", "60")
        assert (stopped.returncode, machine.state) == (0, "STOPPED")
        assert "stand-in agent started" in _log_of(machine)
    assert (tmp_path / "state/kept").exists()


def _log_of(machine: Container) -> str:
    return (machine.folder / machine.name / "upper/var/log/sysvm/current").read_text()


def test_a_container_can_be_started_again(template: Template, standin: AgentLayer):
    """What its last life left in the upper layer does not disturb the next one."""
    with container([standin.root, template.root], "/usr/lib/sysvm/init") as machine:
        for _ in range(2):
            port = machine.port()
            port.until(END)
            port.ask("mkdir -p /run/service/left; touch /run/left")
            assert machine.command("lxc-stop", "-t", "60").returncode == 0
            assert machine.command("lxc-start", "-d").returncode == 0
        port = machine.port()
        port.until(END)
        assert port.ask("ls -d /run/left /run/service/left 2>/dev/null") == ""


def _vm_disks(template: Template, standin: AgentLayer, folder: Path) -> list[str]:
    (folder / "boot").mkdir()
    (folder / "boot/boot.json").write_text(BOOT_JSON)
    subprocess.run(["mksquashfs", folder / "boot", folder / "boot.img", "-quiet", "-no-progress"], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "state", folder / "state.img", "16M"], check=True)
    words = []
    for image in (template.base, template.modules, standin.image, folder / "boot.img"):
        words += disk(image)
    return [*words, *disk(folder / "state.img", read_only=False)]


def test_a_vm_starts_its_agent_and_is_switched_off_by_its_power_button(template: Template, standin: AgentLayer, tmp_path: Path):
    """Root, modules, agent, boot data and state are found; modules load by themselves; the state disk keeps what is written."""
    arguments = [
        "-kernel", template.vmlinuz, "-initrd", template.initrd, "-append", "console=ttyS0 quiet panic=-1 acpi=noirq",
        *_vm_disks(template, standin, tmp_path), "-netdev", "user,id=n,restrict=on",
        "-device", "virtio-net-pci,netdev=n,romfile=",
    ]  # fmt: skip
    with emulated(*map(str, arguments)) as machine:
        port = machine.port
        port.until(END)
        _lives_as_supposed(port)
        assert port.ask("uname -r").strip() == template.manifest.kernel
        assert {"lo", "eth0"} == {line.split()[0] for line in port.ask("ip -br link").splitlines()}
        assert port.ask("echo 'table ip t { chain c { type nat hook prerouting priority 0; }; }' | nft -f - 2>&1") == ""
        assert port.ask("ip link add w type wireguard && ip link add v link eth0 type vlan id 5 2>&1") == ""
        _link_power_button(port)
        _press_power_button(machine)
        assert machine.ended() == 0
    kept = subprocess.run(["debugfs", "-R", "stat /kept", tmp_path / "state.img"], capture_output=True, text=True, check=True)
    assert "Type: regular" in kept.stdout
    clean = subprocess.run(["e2fsck", "-n", tmp_path / "state.img"], capture_output=True, text=True, check=False)
    assert (clean.returncode, "recovering journal" in clean.stdout) == (0, False), clean.stdout


def _link_power_button(port: Line) -> None:
    """As the agent does it, some seconds after its start."""
    words = base64.b64encode(BUTTON.script.encode()).decode()
    folder = f"/run/services/{BUTTON.name}"
    port.ask(f"mkdir -p {folder} && echo {words} | base64 -d > {folder}/run && chmod 755 {folder}/run")
    assert port.ask(f"ln -s {folder} /run/service/ && s6-svscanctl -a /run/service 2>&1") == ""


def _press_power_button(machine: Emulated) -> None:
    while "/dev/input/event" not in machine.port.ask("ls -l /proc/[0-9]*/fd 2>/dev/null"):
        pass
    machine.monitor.say("system_powerdown")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _talk(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 60) as line:
        line.sendall(text)
        return line.recv(4096) if text == b"echo\n" else line.makefile("rb").read()


def test_the_tiny_guest_boots_from_its_disk(guest: Guest):
    """BIOS, address and name by DHCP, page, echo, shell on the serial line, screen, power button."""
    page, echo = _free_port(), _free_port()
    network = f"user,id=n,net=10.1.1.0/24,hostname=web1,hostfwd=tcp:127.0.0.1:{page}-:80,hostfwd=tcp:127.0.0.1:{echo}-:7"
    arguments = [
        "-drive", f"if=virtio,format=qcow2,snapshot=on,file={guest.disk}", "-netdev", network,
        "-device", "virtio-net-pci,netdev=n,romfile=", "-device", "VGA",
    ]  # fmt: skip
    assert guest.disk.stat().st_size < 25_000_000
    with emulated(*arguments, memory=128) as machine:
        serial = machine.serial
        serial.until(b"guest: started as a vm")
        serial.until(b"guest: address 10.1.1.15/24 from 10.1.1.2 on eth0")
        serial.until(b"guest: host name web1")
        serial.until(b"web1 login:")
        serial.until(b"web1# ")
        assert b"tiny guest web1\neth0 10.1.1.15/24\n" in _talk(page, b"GET / HTTP/1.0\r\n\r\n")
        assert _talk(echo, b"echo\n") == b"echo\n"
        serial.say("echo $((6 * 7)) on $(hostname); touch /disk/kept; ls /disk")
        serial.until(b"42 on web1")
        serial.until(b"kept")
        serial.say("fold -w 80 /dev/vcs1 | grep -o 'address 10.1.1.[0-9]*' | head -n 1 | tr a A")
        serial.until(b"Address 10.1.1.15")
        machine.monitor.say("system_powerdown")
        serial.until(b"guest: switching off")
        assert machine.ended() == 0


def test_the_tiny_guest_runs_as_a_container(guest: Guest, tmp_path: Path):
    """The same system from its archive: page, login instead of a shell on the console, a clean stop."""
    root = tmp_path / "root"
    with tarfile.open(guest.archive) as archive:
        archive.extractall(root)
    assert {entry.lstat().st_uid for entry in root.rglob("*")} == {0}
    console = f"lxc.console.logfile = {tmp_path}/console\n"
    with container([root], "/sbin/init", console) as machine:
        page = ["--", "/bin/sh", "-c", "until /bin/wget -q -O - http://127.0.0.1/; do /bin/sleep 1; done"]
        said = machine.command("lxc-attach", "--clear-env", *page)
        assert said.stdout.startswith("tiny guest"), said.stderr
        wait_for(lambda: "login:" in (tmp_path / "console").read_text(), "a login on the console")
        stopped = machine.command("lxc-stop", "-t", "60")
        assert (stopped.returncode, machine.state) == (0, "STOPPED")
    heard = (tmp_path / "console").read_text()
    assert "guest: started as a container" in heard
    assert "guest: switching off" in heard
