"""Allocation: the lowest free address, nothing twice, nothing that is kept out, a clear refusal at the end."""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sysvm.basics.clock import VirtualClock
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, nics
from sysvm.store.queries.events import SYSTEM, Actor
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from tests.store.copies import copied, empty_database

TENANT = Actor(3, 3, 4, "/1/4/")


@contextmanager
def book() -> Iterator[Tx]:
    """An open transaction on an empty database in which rows need not refer to anything."""
    store = copied(empty_database(), VirtualClock())
    store._writing.exec_driver_sql("pragma foreign_keys=off")
    store._writing.exec_driver_sql("BEGIN")
    yield Tx(store._writing, 1.0, postgres=False)
    store._writing.exec_driver_sql("ROLLBACK")
    store.engine.dispose()


def make_range(tx: Tx, first: str, last: str, traffic: str = "Public", **values: Any) -> int:
    return tx.insert(
        tables.ip_range, uuid=f"{first}-{last}", zone_id=1, traffic=traffic, gateway="10.0.0.1", netmask="255.255.255.0",
        first=pack_address(first), last=pack_address(last), created=1.0, **values,
    )  # fmt: skip


def make_network(tx: Tx, cidr: str, gateway: str, **values: Any) -> Row:
    given = {"name": "n", "uuid": "n", "zone_id": 1, "offering_id": 1, "created": 1.0, "account_id": 1, "domain_id": 1,
             "domain_path": "/1/"}  # fmt: skip
    id_ = tx.insert(tables.network, cidr=cidr, gateway=gateway, **{**given, **values})
    row = tx.get(tables.network, id_)
    assert row is not None
    return row


def add_guest(tx: Tx, network: Row, address: str, machine: int = 1) -> int:
    return nics.add_nic(tx, machine, 0, "guest", network_id=network.id, addresses=((address, 24),))


# ---------------------------------------------------------------- guests
@settings(max_examples=60, deadline=None)
@given(
    prefix=st.integers(min_value=27, max_value=30),
    gateway=st.integers(min_value=1, max_value=30),
    reserved=st.tuples(st.integers(min_value=0, max_value=31), st.integers(min_value=0, max_value=31)),
    gone=st.sets(st.integers(min_value=0, max_value=40)),
)
def test_every_address_is_given_once_lowest_first_until_none_is_left(
    prefix: int, gateway: int, reserved: tuple[int, int], gone: set[int]
):
    """For any gateway and reserved range; addresses of removed NICs are given again."""
    whole = ipaddress.ip_network(f"10.1.1.0/{prefix}")
    hosts = list(whole.hosts())
    door = hosts[gateway % len(hosts)]
    first, last = sorted(reserved)
    kept = {str(whole[0] + at) for at in range(first, last + 1)}
    free = [str(host) for host in hosts if host != door and str(host) not in kept]
    with book() as tx:
        network = make_network(tx, str(whole), str(door), reserved_range=f"{whole[0] + first}-{whole[0] + last}")
        held = []
        for expected in free:
            assert expected == addresses.take_guest_ip(tx, network)
            held.append((expected, add_guest(tx, network, expected)))
        with pytest.raises(Refused) as refused:
            addresses.take_guest_ip(tx, network)
        assert Why.CAPACITY is refused.value.why
        released = [(text, nic) for at, (text, nic) in enumerate(held) if at in gone]
        for _, nic in released:
            nics.remove_nic(tx, nic)
        for text, _ in released:
            assert text == addresses.take_guest_ip(tx, network)
            add_guest(tx, network, text)


def test_a_full_16_is_searched_by_a_few_counts():
    """No list of 65,000 addresses is built in Python: at most one count per halving."""
    with book() as tx:
        network = make_network(tx, "10.1.0.0/16", "10.1.0.1")
        start = addresses.number_of(pack_address("10.1.0.0"))
        rows = [
            {"uuid": str(at), "nic_id": 1, "network_id": network.id, "address": addresses.packed_of(start + at),
             "prefix": 16, "is_primary": True, "created": 1.0}
            for at in range(2, 65535) if at != 60000
        ]  # fmt: skip
        tx.connection.execute(sa.insert(tables.nic_address), rows)
        counted = count_statements(tx)
        assert "10.1.234.96" == addresses.take_guest_ip(tx, network)
        assert counted() <= 20


def count_statements(tx: Tx) -> Callable[[], int]:
    seen = []
    sa.event.listen(tx.connection, "before_cursor_execute", lambda *args: seen.append(args[2]))
    return lambda: len(seen)


def test_shared_networks_give_from_their_ranges_in_order():
    with book() as tx:
        network = make_network(tx, "10.0.0.0/24", "10.0.0.1", guest_type="Shared")
        make_range(tx, "10.0.0.200", "10.0.0.201", "Guest", network_id=network.id)
        make_range(tx, "10.0.0.50", "10.0.0.50", "Guest", network_id=network.id)
        given_out = []
        for _ in range(3):
            given_out.append(addresses.take_guest_ip(tx, network))
            add_guest(tx, network, given_out[-1])
        assert ["10.0.0.200", "10.0.0.201", "10.0.0.50"] == given_out


# ---------------------------------------------------------------- public
def public_state(tx: Tx) -> list[tuple[str, str]]:
    ip = tables.public_ip.c
    rows = tx.all(sa.select(ip.address, ip.state).order_by(ip.address))
    return [(tables.unpack_address(row.address), row.state) for row in rows]


def test_a_public_range_becomes_rows_and_is_used_up():
    with book() as tx:
        assert 2 == addresses.fill_public_range(tx, make_range(tx, "10.0.0.9", "10.0.0.10"))
        for _ in range(2):
            addresses.take_public_ip(tx, 1, system=False, actor=TENANT)
        with pytest.raises(addresses.NoPublicAddress) as refused:
            addresses.take_public_ip(tx, 1, system=False, actor=TENANT)
        assert (Why.CAPACITY, 1) == (refused.value.why, refused.value.zone_id)
        (row, *_) = tx.all(sa.select(tables.public_ip))
        addresses.give_public_ip(tx, row.id)
        assert ("10.0.0.9", "Free") == public_state(tx)[0]
        again = addresses.take_public_ip(tx, 1, system=False, actor=TENANT)
        assert (row.id, TENANT.account_id, False) == (again.id, again.account_id, again.static_nat)


@pytest.mark.parametrize("of", ["network_id", "vpc_id"])
def test_addresses_of_one_router_are_on_one_vlan(of: str):
    """A router has one public NIC: what comes on another VLAN would never reach it."""
    with book() as tx:
        for vlan, first, last in (("untagged", "10.0.0.9", "10.0.0.10"), ("120", "10.0.0.20", "10.0.0.29")):
            addresses.fill_public_range(tx, make_range(tx, first, last, vlan=vlan))

        def take(router: int, **values: Any) -> str:
            taken = addresses.take_public_ip(tx, 1, system=False, actor=TENANT, **{of: router, **values})
            return tables.unpack_address(taken.address)

        assert ["10.0.0.9", "10.0.0.20"] == [take(1, source_nat=True), take(2, wanted="10.0.0.20")]
        assert ["10.0.0.21", "10.0.0.10"] == [take(2), take(1)]
        with pytest.raises(Refused, match=r"on VLAN untagged, where its router's public NIC is") as refused:
            take(1)
        assert (Why.CAPACITY, Refused) == (refused.value.why, type(refused.value))
        with pytest.raises(Refused, match=r"10\.0\.0\.22 is not free .*, or not on VLAN untagged"):
            take(1, wanted="10.0.0.22")


@pytest.mark.parametrize(
    ("strict", "system", "expected"),
    [
        ("false", True, ["10.0.0.20", "10.0.0.10", None]),
        ("false", False, ["10.0.0.10", "10.0.0.20", None]),
        ("true", True, ["10.0.0.20", None]),
        ("true", False, ["10.0.0.10", None]),
    ],
)
def test_ranges_for_system_vms_are_preferred_or_kept_apart(strict: str, system: bool, expected: list[str | None]):
    with book() as tx:
        tx.insert(tables.setting, scope="global", scope_id=0, name=addresses.STRICTNESS, value=strict)
        addresses.fill_public_range(tx, make_range(tx, "10.0.0.10", "10.0.0.10"))
        addresses.fill_public_range(tx, make_range(tx, "10.0.0.20", "10.0.0.20", for_system_vms=True))
        assert expected == [taken(tx, system=system, actor=SYSTEM) for _ in expected]


def taken(tx: Tx, *, system: bool, actor: Actor) -> str | None:
    try:
        return tables.unpack_address(addresses.take_public_ip(tx, 1, system=system, actor=actor).address)
    except Refused:
        return None


def test_dedicated_ranges_are_their_owners_first_and_nobody_elses():
    with book() as tx:
        addresses.fill_public_range(tx, make_range(tx, "10.0.0.10", "10.0.0.10"))
        addresses.fill_public_range(tx, make_range(tx, "10.0.0.20", "10.0.0.20", account_id=TENANT.account_id, domain_id=4))
        stranger = Actor(9, 9, 1, "/1/")
        assert "10.0.0.20" == taken(tx, system=False, actor=TENANT)
        assert ["10.0.0.10", None] == [taken(tx, system=False, actor=stranger) for _ in range(2)]


# ---------------------------------------------------------------- private, control, MAC
def test_private_addresses_leave_out_the_gateway_and_come_back():
    with book() as tx:
        make_range(tx, "10.0.0.1", "10.0.0.2", "Management")
        nic = nics.add_nic(tx, 1, 1, "management")
        taken_ = addresses.take_private_ip(tx, 1, "Management", nic)
        assert ("10.0.0.2", 24, "10.0.0.1") == (taken_.address, taken_.prefix, taken_.gateway)
        with pytest.raises(Refused):
            addresses.take_private_ip(tx, 1, "Management", nic)
        nics.remove_of_machine(tx, 1)
        assert "10.0.0.2" == addresses.take_private_ip(tx, 1, "Management", nic).address


def test_control_addresses_are_stable_per_machine_and_never_the_metadata_services():
    with book() as tx:
        assert "169.254.0.2" == addresses.take_control_ip(tx, 1, 7)
        assert "169.254.0.2" == addresses.take_control_ip(tx, 1, 7)
        assert "169.254.0.3" == addresses.take_control_ip(tx, 1, 8)
        assert "169.254.0.2" == addresses.take_control_ip(tx, 2, 8), "each host has its own"
        start = addresses.number_of(pack_address("169.254.0.0"))
        rows = [
            {"host_id": 1, "address": addresses.packed_of(start + at), "machine_id": at}
            for at in range(4, 169 * 256 + 254)
        ]  # fmt: skip
        tx.connection.execute(sa.insert(tables.control_ip), rows)
        assert "169.254.169.255" == addresses.take_control_ip(tx, 1, 99999)
        addresses.give_control_ip(tx, 1, 8)
        assert "169.254.0.3" == addresses.take_control_ip(tx, 1, 100000)


def test_macs_are_ours_and_differ():
    with book() as tx:
        made = [nics.add_nic(tx, 1, device, "guest") for device in range(50)]
        macs = {nic.mac for nic in nics.of_machine(tx, 1)}
        assert len(made) == len(macs)
        assert all(mac.startswith("06:") for mac in macs)


def test_the_first_address_of_each_family_is_the_primary_one():
    with book() as tx:
        held = (("10.0.0.5", 24), ("fd00::5", 64), ("10.0.0.6", 24))
        nics.add_nic(tx, 1, 0, "guest", addresses=held)
        (nic,) = nics.of_machine(tx, 1)
        assert ("10.0.0.5", "fd00::5", "255.255.255.0") == (
            nic.primary and nic.primary.text, nic.primary6 and nic.primary6.text, nic.netmask,
        )  # fmt: skip
        nics.set_primary(tx, nic.id, "10.0.0.9", 16, "10.0.0.1")
        (nic,) = nics.of_machine(tx, 1)
        assert ("10.0.0.9", "255.255.0.0", "fd00::5") == (
            nic.primary and nic.primary.text, nic.netmask, nic.primary6 and nic.primary6.text,
        )  # fmt: skip
