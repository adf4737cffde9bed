"""A domain that comes from or goes to another host, as libvirt has it. All of it runs in libvirt's thread."""

from typing import Any

from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm.connection import find, load
from sysvm.hosts.kvm.marks import Life


def life_of(connection: Any, name: str, *, leaving: bool) -> Life:
    """What there is of it; `leaving`: it was sent from here."""
    libvirt = load()
    one = find(connection, name)
    if one is None:
        return Life()
    try:
        paused = one.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        return Life(defined=True, paused=paused, busy=leaving and bool(one.isActive()) and _is_sent(one))
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
            raise NotYet(1, "the guest is just leaving") from error
        raise


def _is_sent(one: Any) -> bool:
    libvirt = load()
    stats = one.jobStats(0)
    under_way = stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) != libvirt.VIR_DOMAIN_JOB_NONE
    return bool(under_way and stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)


def end(connection: Any, name: str, *, sent: bool) -> None:
    """What is paused runs on; what is on its way is called back. NotYet while it is, or when it has gone for good."""
    libvirt = load()
    one = find(connection, name)
    if one is None and sent:
        raise NotYet(2, "it has left for another host")
    if one is None or not one.isActive():
        return
    if sent and _is_sent(one):
        one.abortJob()
        raise NotYet(1, "it is called back from its way to another host")
    if one.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        one.resume()
