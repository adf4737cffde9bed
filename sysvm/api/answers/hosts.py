"""Hosts as answers show them: machines that run machines, and system VMs whose agents are up."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.queries.hosts import SYSTEM_KINDS
from sysvm.store.store import Row

MIB = 1024 * 1024
CAPABILITIES = {"KVM": "hvm,snapshot", "LXC": "lxc", "Simulator": "hvm", "VMware": "hvm"}


def host(row: Row, server: str | None = None) -> dict[str, Any]:
    """One host; `server` is the management server that holds its link."""
    facts = row.facts or {}
    answer = {
        "id": row.uuid,
        "name": row.name,
        "type": "Routing",
        "state": row.state,
        "resourcestate": row.resource_state,
        "hypervisor": row.hypervisor,
        "hypervisorversion": facts.get("kernel") or None,
        "version": row.version or None,
        "arch": "x86_64",
        "ipaddress": row.management_address or facts.get("underlay") or row.address,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "clusterid": row.cluster_uuid,
        "clustername": row.cluster_name,
        "clustertype": row.cluster_type,
        "created": stamp(row.created),
        "disconnected": stamp(row.disconnected),
        "lastpinged": stamp(row.last_seen),
        "managementserverid": server,
        "hosttags": row.tags or None,
        "annotation": row.why or None,
        "capabilities": CAPABILITIES.get(row.hypervisor),
        "details": _details(row, facts),
        "islocalstorageactive": True,
        "hahost": False,
        "hasannotations": False,
        "encryptionsupported": False,
        "ueficapability": False,
        "events": "AgentConnected; AgentDisconnected; Ping; Remove; ShutdownRequested; StartAgentRebalance",
        **_capacity(row, facts),
    }
    return without_empty(answer)


def _details(row: Row, facts: dict[str, Any]) -> dict[str, str] | None:
    found = {
        "features": ",".join(facts.get("features") or ()),
        "hypervisors": ",".join(facts.get("hypervisors") or ()),
        "kvm": "true" if facts.get("kvm") else str(facts.get("kvm_why") or ""),
        "why": row.why,
    }
    return {name: value for name, value in found.items() if value} or None


def _capacity(row: Row, facts: dict[str, Any]) -> dict[str, Any]:
    """Known since the host's first link; before it there is nothing to divide by."""
    if not row.cpus or not row.memory_bytes:
        return {"hasenoughcapacity": False}
    mhz, memory = row.cpus * row.cpu_mhz, row.memory_bytes
    mhz_taken, memory_taken = int(row.mhz_taken), int(row.mb_taken) * MIB
    return {
        "cpunumber": row.cpus,
        "cpuspeed": row.cpu_mhz,
        "cpusockets": 1,
        "cpuwithoverprovisioning": str(mhz),
        "cpuallocated": _percent(mhz_taken, mhz),
        "cpuallocatedpercentage": _percent(mhz_taken, mhz),
        "cpuallocatedwithoverprovisioning": _percent(mhz_taken, mhz),
        "cpuallocatedvalue": mhz_taken,
        "memorytotal": memory,
        "memorywithoverprovisioning": str(memory),
        "memoryallocated": memory_taken,
        "memoryallocatedbytes": memory_taken,
        "memoryallocatedpercentage": _percent(memory_taken, memory),
        "disksizetotal": facts.get("disk_bytes") or None,
        "disksizeallocated": facts.get("disk_used"),
        "hasenoughcapacity": mhz_taken < mhz and memory_taken < memory,
    }


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "0%"


def system_vm(row: Row, address: str | None) -> dict[str, Any]:
    """A system VM whose agent is up, in the form of a host; `address` is its management address."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "type": SYSTEM_KINDS[row.kind],
        "state": "Up",
        "resourcestate": "Enabled",
        "hypervisor": row.hypervisor or None,
        "version": row.version or None,
        "ipaddress": address,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "created": stamp(row.created),
        "lastpinged": stamp(row.reported),
        "hasannotations": False,
    }
    return without_empty(answer)
