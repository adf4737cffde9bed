"""Compute offerings of guests and system offerings of system VMs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import offerings as answers
from sysvm.api.call import Call, One, Reply, Rows, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.params import NONE_UUID, pairs
from sysvm.api.rules import offerings as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import offerings
from sysvm.store.store import Row, Tx

KEPT = ("deploymentplanner",)
EVERYBODY = ("public", "all", NONE_UUID)


def where_for(call: Call) -> dict[str, str]:
    """The columns that restrict a new offering to domains and zones."""
    domains, zones = call.rows(tables.domain, "domainid"), call.rows(tables.zone, "zoneid")
    return {
        "domain_ids": _uppermost(domains),
        "zone_ids": ",".join(str(row.id) for row in zones),
    }


def other_where(call: Call) -> dict[str, str]:
    """The same for an update, whose parameters are plain texts: uuids, or a word for everybody."""
    found: dict[str, str] = {}
    for name, column, table in (("domainid", "domain_ids", tables.domain), ("zoneid", "zone_ids", tables.zone)):
        text = call.get(name)
        if text is None:
            continue
        uuids = [] if text.strip().lower() in EVERYBODY else [part.strip() for part in text.split(",") if part.strip()]
        rows = [call.find(table, uuid, name) for uuid in uuids]
        found[column] = _uppermost(rows) if table is tables.domain else ",".join(str(row.id) for row in rows)
    return found


def _uppermost(domains: Sequence[Row]) -> str:
    """The ids of domains, without those that are below another one of them: what is for a domain is for those below it."""
    paths = {row.id_path for row in domains}
    above = {row.id: any(row.id_path != path and row.id_path.startswith(path) for path in paths) for row in domains}
    return ",".join(str(id_) for id_, is_below in above.items() if not is_below)


def places_of(tx: Tx) -> answers.Places:
    """Names of domains and zones, for the answers of a page."""
    domain, zone = tables.domain, tables.zone
    return answers.Places(
        {row.id: (row.uuid, row.name) for row in tx.all(sa.select(domain.c.id, domain.c.uuid, domain.c.name))},
        {row.id: (row.uuid, row.name) for row in tx.all(sa.select(zone.c.id, zone.c.uuid, zone.c.name))},
    )


def seen_by(call: Call, table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Which offerings of domains and zones the caller gets to see. As in CloudStack, `domainid` asks for the compute and disk
    offerings of that very domain, and for the network and VPC offerings that can be used in it."""
    found = []
    if not call.caller.is_root:
        found.append(offerings.for_caller(table, call.caller.domain_path))
    if (domain := call.row(tables.domain, "domainid", check=False)) is not None:
        if not (call.caller.domain_path.startswith(domain.id_path) or call.caller.sees_domain(domain.id_path)):
            raise errors.no_access(call.caller.account_name, f"domain {domain.uuid}")
        exactly = table in (tables.service_offering, tables.disk_offering)
        found.append(offerings.of_domain(table, domain.id) if exactly else offerings.for_caller(table, domain.id_path))
    if (zone := call.row(tables.zone, "zoneid")) is not None:
        found.append(offerings.in_zone(table, zone.id))
    return found


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = places_of(tx)
    return [answers.service_offering(row, found) for row in rows]


def _answer(call: Call, offering_id: int, what: str) -> One:
    row = call.tx.get(tables.service_offering, offering_id)
    assert row is not None
    return One(_answers(call.tx, [row])[0], call.about("ServiceOffering", row), f"{what} service offering {row.name}")


@handler("createServiceOffering")
def create_service_offering(call: Call) -> Reply:
    """A new compute or system offering."""
    system = bool(call.get("issystem"))
    kind = rules.system_vm_type(call.get("systemvmtype")) if system else ""
    rules.refuse_unsupported(call.params, system=system)
    size = rules.compute(call.params, system=system)
    name = places.name(call["name"], "offering")
    details = pairs(call.get("serviceofferingdetails")) | size.limits
    offering_id = call.tx.insert(
        tables.service_offering,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        cpus=size.cpus,
        cpu_mhz=size.mhz,
        memory_mb=size.memory_mb,
        customized=size.memory_mb is None,
        is_system=system,
        system_vm_type=kind,
        network_rate=rules.network_rate(call.get("networkrate"), system=system, kind=kind),
        offer_ha=bool(call.get("offerha")),
        limit_cpu_use=bool(call.get("limitcpuuse")),
        is_volatile=bool(call.get("isvolatile")),
        dynamic_scaling=call.get("dynamicscalingenabled", True),
        storage_type=rules.storage_type(call.get("storagetype")),
        provisioning_type=rules.provisioning_type(call.get("provisioningtype")),
        root_disk_bytes=rules.disk_bytes(call.get("rootdisksize"), what="root disk size"),
        disk_limits=rules.disk_limits(call.params),
        host_tags=places.tags(call.get("hosttags")),
        storage_tags=places.tags(call.get("tags")),
        details=details | {name: call[name] for name in KEPT if call.get(name)},
        created=call.now,
        **where_for(call),
    )
    return _answer(call, offering_id, "Created")


@handler("listServiceOfferings")
def list_service_offerings(call: Call) -> Reply:
    """Compute offerings, or (issystem=true) those of system VMs, which only root admins see."""
    table = tables.service_offering
    system = bool(call.get("issystem"))
    if system and not call.caller.is_root:
        raise Refused("Only ROOT admins can access system's offering", Why.NOT_ALLOWED)
    statement = offerings.service_offerings().where(*seen_by(call, table))
    if not ("id" in call and call.caller.is_root):
        statement = statement.where(table.c.is_system.is_(system))
    if kind := call.get("systemvmtype"):
        statement = statement.where(table.c.system_vm_type == kind.lower())
    for name, column in (("cpunumber", table.c.cpus), ("cpuspeed", table.c.cpu_mhz), ("memory", table.c.memory_mb)):
        if name in call:
            statement = statement.where(sa.or_(column.is_(None), column >= call[name]))
    if call.get("encryptroot"):
        return Rows([], 0)
    machine = call.row(tables.machine, "virtualmachineid")
    if machine is not None:
        now = call.tx.get(table, machine.service_offering_id)
        assert now is not None
        statement = statement.where(table.c.id != now.id, table.c.storage_type == now.storage_type)
    return list_rows(call, statement, table, _answers, equal={"name": table.c.name})


@handler("updateServiceOffering")
def update_service_offering(call: Call) -> Reply:
    """Changes names, tags and who may use an offering; sizes stay, since machines run with them."""
    offering = call.need(tables.service_offering, "id")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = places.name(call["name"], "offering")
    if call.get("displaytext"):
        changes["display_text"] = call["displaytext"]
    if "hosttags" in call:
        changes["host_tags"] = places.tags(call["hosttags"])
    if "storagetags" in call:
        changes["storage_tags"] = places.tags(call["storagetags"])
    changes |= other_where(call)
    if changes:
        call.tx.update(tables.service_offering, offering.id, **changes)
    return _answer(call, offering.id, "Changed")


@handler("deleteServiceOffering")
def delete_service_offering(call: Call) -> Reply:
    """Nobody can choose the offering any more; machines that have it keep it."""
    offering = call.need(tables.service_offering, "id")
    if offering.default_use:
        raise Refused("Default service offerings cannot be deleted.")
    network = tables.network_offering
    if count := offerings.uses(call.tx, network, network.c.service_offering_id == offering.id):
        raise Refused(f"{count} network offerings make their routers with {offering.name}; delete them first", Why.IN_USE)
    call.tx.update(tables.service_offering, offering.id, removed=call.now, state="Inactive")
    return Success(about=call.about("ServiceOffering", offering), description=f"Deleted service offering {offering.name}")
