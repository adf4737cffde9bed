"""What a turn of each kind does. Every module has `work` (one turn) and `complain` (where its failures are shown)."""

from sysvm.orchestrator import sweep
from sysvm.orchestrator.engine import Kind
from sysvm.orchestrator.turns import (
    host,
    machine,
    maintenance,
    moving,
    network,
    placement,
    storage,
    task,
    template,
    zone,
)

KINDS: dict[str, Kind] = {
    "host": Kind(host.work, host.complain),
    "image": Kind(storage.image, storage.complain_image),
    "machine": Kind(machine.work, machine.complain),
    "maintenance": Kind(maintenance.work, maintenance.complain),
    "network": Kind(network.work, network.complain),
    "placement": Kind(placement.work, placement.complain),
    "sweep": Kind(sweep.work, sweep.complain),
    "task": Kind(task.work, task.complain),
    "template": Kind(moving.work, template.complain),
    "volume": Kind(storage.volume, storage.complain_volume),
    "zone": Kind(zone.work, zone.complain),
}
