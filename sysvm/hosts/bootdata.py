"""boot.json of a system VM, made from its specification by whatever driver starts it. Pure."""

from sysvm.wire.machines import BootData, MachineSpec


def boot_data(spec: MachineSpec) -> BootData:
    """What a system VM is told about itself at its start."""
    return BootData(
        machine=spec.machine,
        incarnation=spec.incarnation,
        name=spec.name,
        kind=spec.kind,
        runtime=spec.runtime,
        hostname=spec.hostname,
        nics=spec.nics,
        state_key=spec.state_key,
        standby=spec.standby,
        apart=spec.apart,
    )
