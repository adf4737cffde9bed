"""Traffic types: which physical network carries guest, public, management and storage traffic."""

from typing import Any

from sysvm.api.answers import physical_networks as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import ip_ranges, physical_networks, zones
from sysvm.store.store import Row, Tx

TYPES = {"guest": "Guest", "public": "Public", "management": "Management", "storage": "Storage"}
IMPLEMENTORS = {
    "Guest": "VxlanGuestNetworkGuru", "Public": "PublicNetworkGuru", "Management": "PodBasedNetworkGuru",
    "Storage": "StorageNetworkGuru", "Control": "ControlNetworkGuru",
}  # fmt: skip


def _type(text: str) -> str:
    found = TYPES.get(text.strip().lower())
    if found is None:
        raise Refused(f"Unable to resolve Traffic Type '{text}' to a supported value; they are {', '.join(TYPES.values())}")
    return found


def _labels(call: Call) -> dict[str, str]:
    return {label: call[label] for label in answers.LABELS if call.get(label)}


@handler("addTrafficType")
def add_traffic_type(call: Call) -> Reply:
    """A physical network carries a further traffic type; only guest traffic may have several networks."""
    network = call.need(tables.physical_network, "physicalnetworkid")
    kind = _type(call["traffictype"])
    carrying = physical_networks.carrying(call.tx, network.zone_id, kind)
    if any(other.id == network.id for other in carrying):
        raise Refused(f"This physical network already supports the traffic type {kind}")
    if carrying and kind != "Guest":
        raise Refused(f"This zone already has a physical network with traffic type {kind}: {carrying[0].name}")
    type_id = call.tx.insert(
        tables.traffic_type,
        uuid=call.ids.uuid(),
        physical_network_id=network.id,
        traffic_type=kind,
        labels=_labels(call),
        created=call.now,
    )
    zones.changed(call.tx, network.zone_id)
    row = call.tx.get(tables.traffic_type, type_id)
    assert row is not None
    return Accepted((), call.about("PhysicalNetworkTrafficType", row), f"Adding traffic type {kind} to {network.name}")


@result("addTrafficType", "updateTrafficType")
def _result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(physical_networks.traffic().where(tables.traffic_type.c.id == job.instance_id))
    return answers.traffic_type(row) if row is not None else {}


@handler("listTrafficTypes")
def list_traffic_types(call: Call) -> Reply:
    """What a physical network carries."""
    kind = tables.traffic_type
    refs = {"physicalnetworkid": (tables.physical_network, kind.c.physical_network_id)}
    keyword = (kind.c.traffic_type,)
    return list_rows(call, physical_networks.traffic(), kind, each(answers.traffic_type), refs=refs, keyword=keyword)


@handler("updateTrafficType")
def update_traffic_type(call: Call) -> Reply:
    """Changes the labels of a traffic type."""
    row = call.need(tables.traffic_type, "id")
    call.tx.update(tables.traffic_type, row.id, labels={**(row.labels or {}), **_labels(call)})
    return Accepted((), call.about("PhysicalNetworkTrafficType", row), f"Changing traffic type {row.traffic_type}")


@handler("deleteTrafficType")
def delete_traffic_type(call: Call) -> Reply:
    """A physical network carries a traffic type no longer; nothing may depend on it."""
    row = call.need(tables.traffic_type, "id")
    network = call.tx.get(tables.physical_network, row.physical_network_id)
    assert network is not None
    guest = tables.network
    if row.traffic_type == "Guest" and zones.living(call.tx, guest, guest.c.physical_network_id == network.id):
        raise Refused("The Traffic Type is not deletable because there are existing networks with this traffic type", Why.IN_USE)
    if row.traffic_type == "Public":
        for pool in physical_networks.ranges_of(call.tx, network.id):
            if pool.traffic == "Public" and ip_ranges.used(call.tx, pool):
                raise Refused("The Traffic Type is not deletable because public addresses are in use", Why.IN_USE)
    call.tx.update(tables.traffic_type, row.id, removed=call.now)
    zones.changed(call.tx, network.zone_id)
    about = call.about("PhysicalNetworkTrafficType", row)
    return Accepted((), about, f"Deleting traffic type {row.traffic_type} of {network.name}")


@handler("listTrafficTypeImplementors")
def list_traffic_type_implementors(call: Call) -> Reply:
    """Who makes networks of a traffic type."""
    wanted = call.get("traffictype")
    rows = [
        {"traffictype": kind, "traffictypeimplementor": implementor}
        for kind, implementor in IMPLEMENTORS.items()
        if not wanted or kind.lower() == wanted.lower()
    ]
    return slice_rows(call, rows)
