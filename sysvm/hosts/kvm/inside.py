"""What is asked of libvirt about a domain. All of it runs in libvirt's thread (connection.py).

A domain that is not running, or not there, any more is no error where its end was wanted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sysvm.hosts.kvm import disks, domain
from sysvm.hosts.kvm.connection import load
from sysvm.hosts.kvm.power import power_of
from sysvm.wire.machines import MachineSeen


def domains(connection: Any, machine: str | None) -> list[MachineSeen]:
    """What libvirt knows of one machine, or of all of ours."""
    candidates = (one for one in connection.listAllDomains(0) if one.name().startswith(f"{machine or ''}"))
    seen = (_seen(one) for one in candidates)
    return [one for one in seen if one is not None and machine in (None, one.machine)]


def _seen(one: Any) -> MachineSeen | None:
    libvirt = load()
    try:
        state, reason = one.state()
        label = _label(one)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # removed meanwhile
            return None
        raise
    if label is None:
        return None
    power, why = power_of(state, reason)
    return MachineSeen(machine=label.machine, incarnation=label.incarnation, power=power, spec=label.spec, why=why)


def _label(one: Any) -> domain.Label | None:
    """From its metadata; from its name alone when somebody has taken the metadata away."""
    libvirt = load()
    try:
        found = domain.label_of(one.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, domain.METADATA))
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            raise
        found = None
    return found or domain.label_of_name(one.name())


def holders(connection: Any, volume: Path) -> list[str]:
    """Names of running machines that have the volume; at most one, unless it is on its way from one to the other."""
    running = connection.listAllDomains(load().VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return [one.name() for one in running if disks.holds(one.XMLDesc(0), volume)]


def set_label(one: Any, label: str) -> None:
    """It says this of itself from now on."""
    libvirt = load()
    where = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
    one.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, label, "sysvm", domain.METADATA, where)


def _unless_stopped(act: Callable[[], object]) -> None:
    libvirt = load()
    try:
        act()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            raise


def create(one: Any) -> None:
    """It runs."""
    if not one.isActive():
        one.create()


def destroy(one: Any) -> None:
    """It does not run."""
    _unless_stopped(one.destroy)


def press_power_button(one: Any) -> None:
    """Its kernel may hear it."""
    _unless_stopped(lambda: one.shutdownFlags(load().VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))


def undefine(one: Any) -> None:
    """libvirt knows nothing of it any more."""
    libvirt = load()
    one.undefineFlags(
        libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    )
