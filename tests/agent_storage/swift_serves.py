"""OpenStack Swift with its S3 interface, whole, in one process: account, container, object and proxy server, one replica.

`/usr/bin/python3 swift_serves.py FOLDER ADDRESS PORT` says the port of the proxy and serves until it is killed. What it keeps is
in FOLDER, and is there again in its next life. It runs with Debian's Python, for which Debian has packed it. Only the proxy is
reached from elsewhere; the others listen on loopback, on ports that the kernel chooses.
"""

import logging
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi
from swift.common import utils

utils.eventlet_monkey_patch()
FOLDER, ADDRESS, PORT = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
KINDS = ("account", "container", "object")
USER, SECRET = "images:store", "a+secret/of=ours"
SWIFT = """
[swift-hash]
swift_hash_path_prefix = sysvm
swift_hash_path_suffix = sysvm
[storage-policy:0]
name = one
default = yes
"""
SERVER = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_interval = 0
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
"""


def main() -> None:
    """Serves."""
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in KINDS}
    door = eventlet.listen((ADDRESS, PORT))
    write_down({kind: socket.getsockname()[1] for kind, socket in sockets.items()})
    utils.set_swift_dir(str(FOLDER))
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    reload_storage_policies()
    quiet = logging.getLogger("quiet")
    for kind, socket in (*sockets.items(), ("proxy", door)):
        app = loadapp(str(FOLDER / f"{kind}.conf"))
        eventlet.spawn(eventlet.wsgi.server, socket, app, log=quiet, protocol=SwiftHttpProtocol)
    print(door.getsockname()[1], USER, SECRET, flush=True)
    eventlet.event.Event().wait()


def write_down(ports: dict[str, int]) -> None:
    """Its configuration, and the rings: who keeps what."""
    from swift.common.ring import RingBuilder

    (FOLDER / "devices" / "d").mkdir(parents=True, exist_ok=True)
    (FOLDER / "swift.conf").write_text(SWIFT)
    filters = ("catch_errors", "gatekeeper", "listing_formats", "s3api", "bulk", "slo", "dlo")
    proxy = PROXY + "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in filters)
    proxy += "[filter:cache]\nuse = egg:swift#memcache\n"
    (FOLDER / "proxy.conf").write_text(proxy.format(folder=FOLDER, user=USER.replace(":", "_"), secret=SECRET))
    for kind, port in ports.items():
        (FOLDER / f"{kind}.conf").write_text(SERVER.format(folder=FOLDER, kind=kind))
        ring = RingBuilder(part_power=2, replicas=1, min_part_hours=1)
        where = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d", "weight": 1, **where})
        ring.rebalance()
        ring.get_ring().save(str(FOLDER / f"{kind}.ring.gz"))


main()
