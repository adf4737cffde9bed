"""The API state of a machine: the table, and that the database filters by the same one."""

import itertools

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machine_rows
from sysvm.systemvms.states import STATES, StateFacts, api_state
from tests.api_networks.test_addresses import book


def facts(**values: object) -> StateFacts:
    return StateFacts(**{"wanted": "running", "power": "running", "is_guest": True, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (facts(), "Running"),
        (facts(power="absent"), "Starting"),
        (facts(power="starting"), "Starting"),
        (facts(is_guest=False), "Starting"),
        (facts(is_guest=False, agent_known=True), "Running"),
        (facts(moving=True), "Migrating"),
        (facts(power="unknown"), "Unknown"),
        (facts(wanted="stopped"), "Stopping"),
        (facts(wanted="stopped", power="stopping"), "Stopping"),
        (facts(wanted="stopped", power="stopped"), "Stopped"),
        (facts(wanted="stopped", power="absent", destroyed=True), "Destroyed"),
        (facts(wanted="stopped", power="running", destroyed=True), "Stopping"),
        (facts(wanted="gone"), "Expunging"),
        (facts(wanted="stopped", removed=True), "Expunging"),
        (facts(power="absent", error="no host"), "Error"),
        (facts(power="absent", error="no host", ever_ran=True), "Stopped"),
        (facts(power="running", error="late"), "Running"),
    ],
)
def test_state(given: StateFacts, state: str):
    assert state == api_state(given)


def test_the_database_says_the_same():
    """Every combination of the columns that a state depends on."""
    with book() as tx:
        combinations = itertools.product(
            ("running", "stopped", "gone"), ("absent", "stopped", "starting", "running", "stopping", "unknown"),
            ("guest", "router"), (False, True), ("", "x"), ("", "broken"), (None, 1), (None, 1, 2), (None, 5.0), (None, 6.0),
        )  # fmt: skip
        rows = [
            {
                "uuid": str(number), "name": str(number), "wanted": wanted, "power": power, "kind": kind, "agent_up": agent,
                "document_live": live, "error": error, "host_id": host, "wanted_host_id": moves, "destroyed": destroyed,
                "removed": removed, "zone_id": 1, "service_offering_id": 1, "account_id": 1, "domain_id": 1,
                "domain_path": "/1/", "created": 1.0,
            }
            for number, (wanted, power, kind, agent, live, error, host, moves, destroyed, removed) in enumerate(combinations)
        ]  # fmt: skip
        tx.connection.execute(sa.insert(tables.machine), rows)
        found = tx.all(sa.select(tables.machine, machine_rows.state_column.label("api_state")))
        assert {row.uuid: machine_rows.state_of(row) for row in found} == {row.uuid: row.api_state for row in found}
        assert set(STATES) == {row.api_state for row in found}
