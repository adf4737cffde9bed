"""What a turn of each kind does. Every module has `work` (one turn) and `complain` (where its failures are shown)."""

from sysvm.orchestrator.engine import Kind
from sysvm.orchestrator.turns import host, machine, maintenance, network, placement, task, template, zone

KINDS: dict[str, Kind] = {
    "host": Kind(host.work, host.complain),
    "machine": Kind(machine.work, machine.complain),
    "maintenance": Kind(maintenance.work, maintenance.complain),
    "network": Kind(network.work, network.complain),
    "placement": Kind(placement.work, placement.complain),
    "task": Kind(task.work, task.complain),
    "template": Kind(template.work, template.complain),
    "zone": Kind(zone.work, zone.complain),
}
