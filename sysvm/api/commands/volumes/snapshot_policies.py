"""Snapshot policies: create, list, delete. A volume has one for each interval; another one of the same interval replaces it."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import snapshots as answers
from sysvm.api.call import Call, One, Reply, Success
from sysvm.api.commands.volumes.snapshots import need_copyable
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules import volumes as rules
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import settings, snapshots, turns
from sysvm.store.store import Row, Tx
from sysvm.systemvms import schedules

ABOUT = "SnapshotPolicy"


@handler("createSnapshotPolicy")
def create_snapshot_policy(call: Call) -> Reply:
    """From now on the volume has a snapshot by this schedule, and so many of them are kept."""
    volume = call.need(tables.volume, "volumeid")
    if volume.state != "Allocated":
        need_copyable(volume)
    interval = rules.interval(call["intervaltype"])
    schedule = schedules.parse(interval, call["schedule"], call["timezone"])
    most = int(settings.value(call.tx, f"snapshot.max.{interval.name.lower()}"))
    found = {
        "schedule": call["schedule"].strip(),
        "timezone": call["timezone"],
        "most": rules.kept(call["maxsnaps"], most, interval),
        "display": call.get("fordisplay", True),
        "next": schedules.next_due(schedule, call.now),
    }
    owner = {name: getattr(volume, name) for name in ("account_id", "domain_id", "domain_path")}
    same = "volume_id = :volume and interval = :interval and removed is null"
    old = call.tx.rows(tables.snapshot_policy, same, volume=volume.id, interval=int(interval))
    if old:
        id_ = old[0].id
        call.tx.update(tables.snapshot_policy, id_, **found)
    else:
        made = {"uuid": call.ids.uuid(), "volume_id": volume.id, "interval": int(interval), "created": call.now}
        id_ = call.tx.insert(tables.snapshot_policy, **made, **owner, **found)
    turns.wish(call.tx, "policy", id_)
    row = call.tx.one(snapshots.policies().where(tables.snapshot_policy.c.id == id_))
    assert row is not None
    return One(answers.policy(row), call.about(ABOUT, row), f"creating snapshot policy of volume {volume.uuid}")


@handler("listSnapshotPolicies")
def list_snapshot_policies(call: Call) -> Reply:
    """The policies of a volume, or one of them."""
    volume = call.row(tables.volume, "volumeid")
    if volume is None and not call.get("id"):
        raise Refused("Please give volumeid or id")
    policy = tables.snapshot_policy.c
    statement = snapshots.policies()
    if volume is not None:
        statement = statement.where(policy.volume_id == volume.id)
    if call.get("fordisplay") is not None:
        statement = statement.where(policy.display == call["fordisplay"])

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.policy(row) for row in found]

    # Whoever may see the volume may see its policies.
    call.params.setdefault("listall", True)
    return list_rows(call, statement, tables.snapshot_policy, rows, keyword=(policy.schedule,), tagged=ABOUT)


@handler("deleteSnapshotPolicies")
def delete_snapshot_policies(call: Call) -> Reply:
    """They make no more snapshots; what they have made stays."""
    if bool(call.get("id")) == bool(call.get("ids")):
        raise Refused("Please give the policy's id, or ids")
    one = call.row(tables.snapshot_policy, "id")
    found = (one,) if one is not None else call.rows(tables.snapshot_policy, "ids")
    for row in found:
        call.tx.update(tables.snapshot_policy, row.id, removed=call.now)
        turns.wish(call.tx, "policy", row.id)
    return Success(about=call.about(ABOUT, found[0]), description="deleting snapshot policies")
