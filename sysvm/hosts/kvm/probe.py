"""Whether this machine really runs guests with KVM: a tiny guest is booted, with a deadline, and must say a line.

That /dev/kvm opens proves nothing: under some nested hypervisors every guest hangs in it without an error. The answer is
found once per boot of the machine and kept in the state folder; deleting the file `kvm.json` asks again.
A kernel to boot comes from any system VM template; without one the answer is "not yet known" and is not kept.
"""

import asyncio
import os
from pathlib import Path

import msgspec

from sysvm.basics.log import get_logger
from sysvm.hosts.kvm import tinyboot
from sysvm.hosts.kvm.domain import EMULATOR
from sysvm.hosts.layout import Layout
from sysvm.hosts.system.durable import write_durably

DEADLINE = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
log = get_logger()


class Proof(msgspec.Struct, frozen=True):
    """What the probe found during one boot of the machine."""

    works: bool
    why: str
    boot: str = ""


async def proof(layout: Layout) -> Proof:
    """Whether KVM works here, and why not."""
    boot = _BOOT_ID.read_text().strip()
    memory = layout.host / "kvm.json"
    known = _remembered(memory)
    if known is not None and known.boot == boot:
        return known
    if why := _why_not_even_try():
        return Proof(False, why, boot)
    kernel = any_kernel(layout.cache)
    if kernel is None:
        return Proof(False, "not known yet: there is no system VM template whose kernel could be booted", boot)
    found = msgspec.structs.replace(await boot_guest(kernel, layout.run, "kvm", DEADLINE), boot=boot)
    await asyncio.to_thread(write_durably, memory, msgspec.json.encode(found))
    log.info("kvm_probed", works=found.works, why=found.why)
    return found


def _remembered(memory: Path) -> Proof | None:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Proof)
    except (OSError, msgspec.MsgspecError):
        return None


def _why_not_even_try() -> str:
    if not Path(EMULATOR).exists():
        return f"{EMULATOR} is not installed"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm cannot be opened: {error.strerror}"
    return ""


def any_kernel(cache: Path) -> Path | None:
    """The kernel of a template; any will do."""
    return max(cache.glob("templates/[!.]*/vmlinuz"), default=None)


async def boot_guest(kernel: Path, folder: Path, accelerator: str, seconds: float | None) -> Proof:
    """Boots the tiny guest; works when its program has said its line before `seconds` are over."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    cpu = "host" if accelerator == "kvm" else "max"
    initrd = folder / f"probe-{accelerator}.cpio"
    initrd.write_bytes(tinyboot.initrd())
    process = await asyncio.create_subprocess_exec(
        *(EMULATOR, "-M", "pc", "-accel", accelerator, "-cpu", cpu, "-m", "128", "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *(
            "-kernel",
            str(kernel),
            "-initrd",
            str(initrd),
            "-append",
            "console=ttyS0 quiet panic=-1 no_timer_check rdinit=/init",
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while process.stdout and (data := await process.stdout.read(4096)):
                said += data
                if tinyboot.MARKER.encode() in said:
                    return Proof(True, "")
    except TimeoutError:
        heard = f"{len(said)} bytes on its console" if said else "not a byte on its console"
        return Proof(False, f"/dev/kvm opens, but a tiny guest did not come up within {seconds:g} s ({heard})")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        initrd.unlink(missing_ok=True)
    last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
    return Proof(False, f"the tiny guest ended before it ran a program: {last[0][:200]}")
