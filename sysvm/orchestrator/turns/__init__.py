"""What a turn of each kind does. Every module has `work` (one turn) and `complain` (where its failures are shown)."""

from sysvm.orchestrator import sweep
from sysvm.orchestrator.engine import Kind
from sysvm.orchestrator.turns import host, machine, maintenance, moving, network, placement, task, template, zone

KINDS: dict[str, Kind] = {
    "host": Kind(host.work, host.complain),
    "machine": Kind(machine.work, machine.complain),
    "maintenance": Kind(maintenance.work, maintenance.complain),
    "network": Kind(network.work, network.complain),
    "placement": Kind(placement.work, placement.complain),
    "sweep": Kind(sweep.work, sweep.complain),
    "task": Kind(task.work, task.complain),
    "template": Kind(moving.work, template.complain),
    "zone": Kind(zone.work, zone.complain),
}
