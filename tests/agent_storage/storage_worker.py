"""A secondary storage VM's role in its own process, to be killed: `storage_worker.py FOLDER URL [BUCKET]` says the result."""

import asyncio
import sys
from pathlib import Path

import msgspec

from sysvm.agent.line import Line
from sysvm.agent.paths import Paths
from sysvm.agent.roles import Context
from sysvm.agent.roles.secstorage.role import SecStorageRole
from sysvm.agent.seal import Seal
from sysvm.basics.clock import SystemClock
from sysvm.wire.channel import Download
from sysvm.wire.documents import Bucket, SecStorageDocument, Store
from sysvm.wire.machines import BootData, Kind, Runtime


async def main(folder: Path, url: str, bucket: Bucket | None) -> None:
    boot = BootData(machine="m", incarnation=1, name="s", kind=Kind.SECONDARY_STORAGE, runtime=Runtime.CONTAINER, hostname="s")
    store = str(folder / "store")
    role = SecStorageRole(Context(boot, Paths(folder), SystemClock(), Seal("k"), Line()), mounts=lambda: {store})
    stores = (Store(store="store-1", path=store, bucket=bucket),)
    await role.apply(SecStorageDocument(machine="m", name="s", stores=stores, allowed_internal=("127.0.0.0/8",)))

    async def progress(_: float) -> None:
        return

    got = await role.run_task("t", Download(store="store-1", image="image-1", url=url, format="RAW"), progress)
    sys.stdout.buffer.write(msgspec.json.encode(got))


WHERE = msgspec.json.decode(sys.argv[3], type=Bucket) if sys.argv[3:] else None
asyncio.run(main(Path(sys.argv[1]), sys.argv[2], WHERE))
