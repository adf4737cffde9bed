"""What a turn of each kind does. Every module has `work` (one turn) and `complain` (where its failures are shown)."""

from sysvm.orchestrator import sweep
from sysvm.orchestrator.engine import Kind
from sysvm.orchestrator.turns import (
    host,
    internal_lb,
    machine,
    maintenance,
    network,
    placement,
    policy,
    private_gateway,
    scrub,
    security_groups,
    snapshot,
    storage,
    task,
    template,
    template_moving,
    tier,
    vm_snapshot,
    volume,
    vpc,
    zone,
)

KINDS: dict[str, Kind] = {
    "host": Kind(host.work, host.complain),
    "image": Kind(storage.work, storage.complain),
    "internal_lb": Kind(internal_lb.work, internal_lb.complain),
    "machine": Kind(machine.work, machine.complain),
    "maintenance": Kind(maintenance.work, maintenance.complain),
    "network": Kind(tier.work, network.complain),
    "placement": Kind(placement.work, placement.complain),
    "policy": Kind(policy.work, policy.complain),
    "private_gateway": Kind(private_gateway.work, private_gateway.complain),
    "scrub": Kind(scrub.work, scrub.complain),
    "security_groups": Kind(security_groups.work, security_groups.complain),
    "snapshot": Kind(snapshot.work, snapshot.complain),
    "sweep": Kind(sweep.work, sweep.complain),
    "task": Kind(task.work, task.complain),
    "template": Kind(template_moving.work, template.complain),
    "vmsnapshot": Kind(vm_snapshot.work, vm_snapshot.complain),
    "volume": Kind(volume.work, volume.complain),
    "vpc": Kind(vpc.work, vpc.complain),
    "zone": Kind(zone.work, zone.complain),
}
