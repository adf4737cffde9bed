"""Starting the images under test: a VM by QEMU (emulated), a container by LXC; both with nothing of the product around.

Waiting is by progress: a wait fails when the machine has said nothing new for `PATIENCE` seconds, however long it takes.
"""

import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 180.0
END = b"\n--end--\n"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Returns once `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.02)


class Line:
    """A two-way stream of bytes from a machine."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._others: list[Line] = []
        self.heard = b""
        self._read = 0

    def beside(self, *others: "Line") -> None:
        """Lines of the same machine that are read along: QEMU stands still when nobody takes what one of them says."""
        self._others = list(others)

    def fileno(self) -> int:
        """For select."""
        return self._stream.fileno()

    def _take(self) -> bytes:
        piece = self._stream.recv(65536)
        self.heard += piece
        return piece

    def until(self, mark: bytes) -> bytes:
        """Everything from where the last call ended up to and with `mark`."""
        while (place := self.heard.find(mark, self._read)) < 0:
            ready, _, _ = select.select([self, *self._others], [], [], PATIENCE)
            for line in ready:
                if not line._take() and line is self:
                    ready = []
            if not ready:
                said = "\n".join(line.heard[-2000:].decode(errors="replace") for line in (self, *self._others))
                raise AssertionError(f"waited for {mark!r}, and nothing more came after:\n{said}")
        start, self._read = self._read, place + len(mark)
        return self.heard[start : self._read]

    def say(self, text: str) -> None:
        """Sends one line."""
        self._stream.sendall(text.encode() + b"\n")

    def ask(self, command: str) -> str:
        """The output of a shell command that the stand-in agent runs."""
        self.say(command)
        return self.until(END).removesuffix(END).decode()


def _connect(path: Path, process: subprocess.Popen[bytes]) -> Line:
    while True:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(str(path))
            return Line(stream)
        except (FileNotFoundError, ConnectionRefusedError):
            stream.close()
            if process.poll() is not None:
                raise AssertionError(f"qemu ended at once: {process.communicate()[0].decode()}") from None
            time.sleep(0.01)


class Emulated:
    """A running QEMU: its serial line, its agent's virtio-serial port and its monitor."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.serial = _connect(folder / "serial", process)
        self.port = _connect(folder / "agent", process)
        self.monitor = _connect(folder / "monitor", process)
        self.port.beside(self.serial)

    def ended(self) -> int:
        """Waits for the machine to switch itself off; QEMU's exit code."""
        try:
            while select.select([self.serial], [], [], PATIENCE)[0] and self.serial._take():
                pass
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.serial.heard[-2000:].decode(errors='replace')}") from None


@contextmanager
def emulated(*arguments: str, memory: int = 256, namespace: str = "") -> Iterator[Emulated]:
    """A QEMU without KVM, in a network namespace if one is named; killed at the end of the block if it still runs."""
    folder = Path(tempfile.mkdtemp(prefix="sysvm-qemu-"))
    lines = []
    for name in ("serial", "agent", "monitor"):
        lines += ["-chardev", f"socket,id={name},path={folder / name},server=on,wait=off"]
    inside = ("ip", "netns", "exec", namespace) if namespace else ()
    command = [
        *inside, "qemu-system-x86_64", "-M", "pc", "-accel", "tcg,tb-size=32", "-cpu", "max", "-m", str(memory), "-nodefaults",
        "-no-user-config", "-no-reboot", "-display", "none", *lines, "-serial", "chardev:serial", "-mon", "monitor",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.sysvm.agent", *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield Emulated(process, folder)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def disk(image: Path, *, read_only: bool = True) -> list[str]:
    """The arguments for one more virtio disk."""
    mode = "read-only=on" if read_only else "read-only=off"
    return ["-drive", f"if=virtio,format=raw,{mode},file={image}"]


class Container:
    """A running LXC container with the agent's socket."""

    def __init__(self, name: str, folder: Path, listener: socket.socket) -> None:
        self.name = name
        self.folder = folder
        self._listener = listener

    def port(self) -> Line:
        """The next connection of the agent."""
        ready, _, _ = select.select([self._listener], [], [], PATIENCE)
        log = self.folder / "lxc.log"
        assert ready, f"the agent did not call: {log.read_text() if log.exists() else ''}"
        return Line(self._listener.accept()[0])

    def command(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs one of LXC's programs on this container."""
        return subprocess.run(
            [program, "-P", str(self.folder), "-n", self.name, *words], capture_output=True, text=True, check=False
        )

    @property
    def state(self) -> str:
        """RUNNING, STOPPED, ..."""
        return self.command("lxc-info", "-s", "-H").stdout.strip()


@contextmanager
def container(lower: list[Path], init: str, extra: str = "") -> Iterator[Container]:
    """An LXC container over the `lower` layers (the topmost first), without a network; gone at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="sysvm-lxc-"))
    name = f"t{os.getpid()}"
    home = folder / name
    for part in ("upper", "work", "root", "host"):
        (home / part).mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(home / "host/host.sock"))
    listener.listen()
    layers = ":".join(map(str, lower))
    mounted = f"lowerdir={layers},upperdir={home}/upper,workdir={home}/work"
    (home / "config").write_text(f"""lxc.uts.name = {name}
lxc.rootfs.path = dir:{home}/root
lxc.init.cmd = {init}
lxc.net.0.type = empty
lxc.mount.auto = proc:mixed sys:mixed
lxc.mount.entry = {home}/host sysvm/host none bind,create=dir 0 0
lxc.autodev = 1
lxc.tty.max = 1
lxc.pty.max = 16
lxc.log.file = {folder}/lxc.log
lxc.log.level = INFO
{extra}""")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", mounted, str(home / "root")], check=True)
    running = Container(name, folder, listener)
    try:
        started = running.command("lxc-start", "-d")
        assert started.returncode == 0, started.stderr + (folder / "lxc.log").read_text()
        yield running
    finally:
        running.command("lxc-stop", "-k")
        listener.close()
        subprocess.run(["umount", str(home / "root")], check=False)
        shutil.rmtree(folder)
