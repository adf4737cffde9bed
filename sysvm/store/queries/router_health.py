"""Checks of routers: what each has to look at, and what it has found. One verdict for lists, events, alerts and replacement.

A failure is told once, when it begins, and once more when others join it; its alert is resolved when all is well again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import alerts, events, machines, router_versions, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Row, Tx, among
from sysvm.systemvms.versions import is_older
from sysvm.wire.health import Checked, Checks, Health, HealthReport

VERSION = "router_version_check.py"
EVENT = "ROUTER.HEALTH.CHECKS"


def is_enabled(tx: Tx) -> bool:
    """Whether routers make checks at all."""
    return bool(settings.value(tx, "router.health.checks.enabled"))


def wanted(tx: Tx, zone_id: int) -> Health | None:
    """What routers of a zone check."""
    return tx.once(("checks of routers", zone_id), lambda: _wanted(tx, zone_id), tables.setting)


def _wanted(tx: Tx, zone_id: int) -> Health | None:
    if not is_enabled(tx):
        return None

    def number(name: str) -> float:
        return float(settings.value(tx, name, zone_id=zone_id) or 0)

    return Health(
        basic_s=round(60 * number("router.health.checks.basic.interval")),
        advanced_s=round(60 * number("router.health.checks.advanced.interval")),
        tell_s=round(60 * number("router.health.checks.results.fetch.interval")),
        excluded=tuple(sorted(_names(tx, "router.health.checks.to.exclude", zone_id))),
        free_disk_mb=int(number("router.health.checks.free.disk.space.threshold")),
        max_cpu=number("router.health.checks.max.cpu.usage.threshold"),
        max_memory=number("router.health.checks.max.memory.usage.threshold"),
    )


def _names(tx: Tx, setting: str, zone_id: int) -> frozenset[str]:
    text = str(settings.value(tx, setting, zone_id=zone_id) or "")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


# ---------------------------------------------------------------- what they have found
@dataclass(frozen=True, slots=True)
class Found:
    """The newest results of one router."""

    failed: int = 0
    checks: tuple[dict[str, Any], ...] = ()


NOTHING = Found()
COUNTS = "select machine_id, failed from router_health where machine_id in ({ids})"


def of(tx: Tx, ids: Sequence[int]) -> dict[int, Found]:
    """By machine; those that have told nothing are missing."""
    table = tables.router_health
    rows = tx.all(sa.select(table).where(table.c.machine_id.in_(list(ids)))) if ids else []
    return {row.machine_id: Found(row.failed, tuple(row.checks or ())) for row in rows}


def counts(tx: Tx, ids: Sequence[int]) -> dict[int, Found]:
    """By machine, how many have failed and nothing more: what a page of routers shows."""
    if not ids:
        return {}
    places, values = among(ids)
    rows = tx.sql(COUNTS.format(ids=places), **values)
    return {id_: Found(failed) for id_, failed in rows}


def failing() -> sa.Select[Any]:
    """Ids of the routers with a check that has failed."""
    return sa.select(tables.router_health.c.machine_id).where(tables.router_health.c.failed > 0)


def heard(tx: Tx, uuid: str, report: HealthReport) -> None:
    """A router has told; who has to know is told on."""
    row = machine_by_uuid(tx, uuid)
    if row is None or row.kind != "router" or row.wanted != "running":
        return
    checks = [*map(_kept, report.checks), *_version(tx, row)]
    before = {each["name"] for each in of(tx, [row.id]).get(row.id, NOTHING).checks if each["good"] is False}
    now = {each["name"] for each in checks if each["good"] is False}
    _write(tx, row, checks, len(now))
    if now - before:
        _tell(tx, row, now)
    elif before and not now:
        events.record(tx, EVENT, f"Router {row.name} has no failing checks any more", actor=_actor(row), about=_about(row))
    if before != now:
        _alert(tx, row, before, now)
    if (now - before) & _names(tx, "router.health.checks.failures.to.recreate.vr", row.zone_id):
        text = f"Recreating router {row.name}, which has failing checks: {', '.join(sorted(now))}"
        events.record(tx, EVENT, text, actor=_actor(row), about=_about(row), level="WARN")
        machines.replace(tx, row)


def _kept(checked: Checked) -> dict[str, Any]:
    return {
        "name": checked.name,
        "kind": str(checked.kind),
        "good": checked.good,
        "details": checked.details,
        "at": checked.at,
    }


def _version(tx: Tx, row: Row) -> list[dict[str, Any]]:
    """The server knows which template is too old."""
    if VERSION in _names(tx, "router.health.checks.to.exclude", row.zone_id):
        return []
    minimum = router_versions.minimum(tx, row.zone_id)
    good = not is_older(row.template_version, minimum) if row.template_version else None
    words = f"its template is {row.template_version or 'of an unknown version'}, {minimum or 'any'} is the oldest that may be"
    return [{"name": VERSION, "kind": str(Checks.BASIC), "good": good, "details": words, "at": tx.now}]


def _write(tx: Tx, row: Row, checks: list[dict[str, Any]], failed: int) -> None:
    table = tables.router_health
    known = tx.value(sa.select(table.c.id).where(table.c.machine_id == row.id))
    if known is None:
        tx.insert(table, machine_id=row.id, failed=failed, checks=checks, told=tx.now)
    else:
        tx.update(table, known, failed=failed, checks=checks, told=tx.now)


def _tell(tx: Tx, row: Row, now: set[str]) -> None:
    text = f"Router {row.name} has failing checks: {', '.join(sorted(now))}"
    events.record(tx, EVENT, text, actor=_actor(row), about=_about(row), level="ERROR")


def _alert(tx: Tx, row: Row, before: set[str], now: set[str]) -> None:
    if before:
        alerts.resolve(tx, AlertType.DOMAIN_ROUTER, zone=row.zone_id, subject=_subject(row, len(before)))
    if now:
        content = f"Failing checks: {', '.join(sorted(now))}; getRouterHealthCheckResults tells the evidence"
        alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, _subject(row, len(now)), content, zone=row.zone_id)


def _subject(row: Row, failed: int) -> str:
    return f"Health checks failed: {failed} failing checks on router {row.name} / {row.uuid}"


def _about(row: Row) -> About:
    return About("DomainRouter", row.id, row.uuid, row.name)


def _actor(row: Row) -> Actor:
    return Actor(1, row.account_id, row.domain_id, row.domain_path)
