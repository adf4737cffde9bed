"""A router that looks after itself: what goes leaves nothing, what somebody changes is mended and told, what it was told
survives, and a part that cannot be made true stops no other part.
"""

import os
import signal
from collections.abc import Iterator

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import (
    AgentHello,
    AgentReport,
    Apply,
    Diagnose,
    DriftReport,
    ForgetTask,
    Greet,
    PowerOff,
    RunTask,
)
from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.link import Nothing
from sysvm.wire.machines import OperationSeen
from tests.agent.documents import (
    GUEST,
    OUTSIDE,
    PUBLIC,
    ROUTER,
    SECOND,
    allow,
    dhcp,
    dns,
    egress,
    forward,
    interfaces,
    metadata,
    router,
    source_nat,
    static,
)
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root


def full(**sections: object) -> RouterDocument:
    """A document with every section."""
    return router(
        **{
            "interfaces": interfaces(SECOND),
            "source_nat": source_nat(),
            "egress": egress(True),
            "static_nat": (static(),),
            "port_forwards": (forward("web", 2080, 80),),
            "firewall": (allow("web", 2080), allow("ssh", 22, 23)),
            "dhcp": dhcp(),
            "dns": dns(),
            "metadata": metadata("secret"),
            **sections,
        }
    )


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    """The lab with the full document live."""
    lab.make_live(full())
    yield lab
    assert lab.agent is not None and lab.agent.poll() is None, "the agent has died"


def picture(lab: Lab) -> tuple[object, ...]:
    """Everything that an apply could touch, without counters that packets move."""
    files = {
        str(path): path.stat().st_mtime_ns
        for path in lab.paths.run.rglob("*")
        if "supervise" not in str(path) and "event" not in str(path)
    }
    rules = [each for each in lab.nft() if "counter" not in each]
    return rules, lab.out(lab.router, "ip", "address"), lab.out(lab.router, "ip", "route"), lab.daemons(), files


def test_the_same_document_twice_changes_nothing(whole: Lab) -> None:
    """No rule gets a new handle, no file a new time, no process a new number."""
    tentative = ("ip", "-6", "address", "show", "tentative")  # the kernel's own addresses, while it asks whose they are
    until(lambda: not whole.out(whole.router, *tentative).strip(), "the kernel's own addresses")
    before = picture(whole)
    assert whole.apply(full()).live == digest(full())
    assert picture(whole) == before


def test_what_a_document_leaves_out_leaves_nothing(whole: Lab) -> None:
    """No process, no file, no rule, no counter, no address of a section that has gone."""
    whole.apply(router())
    assert whole.daemons() == {}
    assert [path.name for path in whole.paths.run.rglob("*") if path.is_file()] == []
    assert list(whole.paths.scan.glob("[a-z]*")) == []
    assert not (whole.paths.state / "delivered").exists()
    elements = {each[kind]["name"] for each in whole.nft() for kind in ("set", "map") if kind in each and each[kind].get("elem")}
    assert elements == {"public", "received", "sent"}
    assert SECOND not in whole.out(whole.router, "nft", "list", "ruleset")
    assert SECOND not in whole.out(whole.router, "ip", "address")


# What a report may be about: the look that comes before s6 has started a daemon again finds that its service lacks it.
DAMAGE = {
    "a rule": ("nftables", ("nft", "flush", "chain", "inet", "sysvm", "forward")),
    "an element": ("nftables", ("nft", "delete", "element", "inet", "sysvm", "open", "{ 203.0.113.10 . 6 . 2080 }")),
    "an element too much": (
        "nftables",
        ("nft", "add", "element", "inet", "sysvm", "open", "{ 203.0.113.10 . 6 . 22 }"),
    ),
    "the whole table": ("nftables", ("nft", "delete", "table", "inet", "sysvm")),
    "a rule too much": ("nftables", ("nft", "insert", "rule", "inet", "sysvm", "forward", "accept")),
    "a policy": ("nftables", ("nft", "chain", "inet", "sysvm", "forward", "{ policy accept; }")),
    "forwarding": ("nftables", ("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")),
    "an address": ("interfaces", ("ip", "address", "del", f"{SECOND}/24", "dev", "eth2")),
    "a strange address": ("interfaces", ("ip", "address", "add", "198.51.100.9/24", "dev", "eth2")),
    "the way out": ("interfaces", ("ip", "route", "del", "default")),
    "a killed dnsmasq": ("dnsmasq", ("sh", "-c", 'kill -9 "$DNSMASQ"')),
    "a killed Apache": ("metadata apache2", ("sh", "-c", 'kill -9 "$APACHE2"')),
    "a killed password server": ("metadata passwords", ("sh", "-c", 'kill -9 "$PASSWORDS"')),
    "a reservation": ("dnsmasq", ("sh", "-c", 'echo > "$RUN/dnsmasq/reservations"')),
    "user data": ("metadata", ("sh", "-c", 'rm -r "$RUN/metadata/guests/10.1.1.5"')),
    "a service that was taken down": ("dnsmasq", ("sh", "-c", 's6-svc -d "$SCAN/dnsmasq"')),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_mended_and_told(whole: Lab, what: str) -> None:
    """The agent notices by itself, says what was different, and the document is live again."""
    services, command = DAMAGE[what]
    assert whole.host is not None
    since = len(whole.host.notices)
    pids = {name.upper(): str(min(pids)) for name, pids in whole.daemons().items()}
    places = {"RUN": str(whole.paths.run), "SCAN": str(whole.paths.scan)}
    whole.out(whole.router, "env", *(f"{key}={value}" for key, value in {**pids, **places}.items()), *command)
    report = whole.host.heard(DriftReport, since)
    assert report.service in services.split() and report.mended, report
    assert until(lambda: whole.report().live, "the document to be live again") == digest(full())


def test_a_report_does_not_claim_what_is_not_live(whole: Lab) -> None:
    """Between the damage and the repair the digest is empty: it is read back, not remembered."""
    assert whole.agent is not None
    os.kill(whole.agent.pid, signal.SIGSTOP)
    try:
        whole.out(whole.router, "nft", "flush", "chain", "inet", "sysvm", "firewall")
        assert whole.host is not None
    finally:
        os.kill(whole.agent.pid, signal.SIGCONT)
    live = whole.report().live
    mended = any(isinstance(each, DriftReport) for each in whole.host.notices[-3:])
    assert live == "" or mended


def test_a_wrong_section_stops_no_other_section(whole: Lab) -> None:
    """The fault names service, reason and remedy; the old part of it and the new parts of others are live."""
    bad = full(
        dhcp=(msgspec.structs.replace(dhcp()[0], domain="not a domain\ndhcp-script=/bin/sh"),),
        port_forwards=(forward("new", 2081, 80),),
    )
    report = whole.apply(bad)
    assert report.live == ""
    assert [(fault.service, bool(fault.why), bool(fault.remedy)) for fault in report.faults] == [("dnsmasq", True, True)]
    listing = whole.out(whole.router, "nft", "list", "map", "inet", "sysvm", "ports")
    assert "2081" in listing and "2080" not in listing
    whole.guest_address()
    assert whole.asked(whole.guest, ROUTER, "web.cs2.cloud.internal") == GUEST


def test_an_interface_that_is_not_there_is_a_fault(whole: Lab) -> None:
    """The others keep their addresses."""
    ghost = Interface(device="eth7", mac="02:00:00:00:00:77", role="public", addresses=("192.0.2.1/24",))
    report = whole.apply(full(interfaces=(*interfaces(SECOND), ghost)))
    assert [fault.service for fault in report.faults] == ["interfaces"]
    assert "02:00:00:00:00:77" in report.faults[0].why
    assert PUBLIC in whole.out(whole.router, "ip", "address", "show", "dev", "eth2")


def test_an_interface_that_comes_later_is_set_up_then(whole: Lab) -> None:
    """A hot-plugged NIC is found by its MAC, named, addressed and told; no second call is needed."""
    assert whole.host is not None
    late = Interface(device="eth3", mac="02:00:00:00:00:33", role="public", addresses=("192.0.2.1/24",), mtu=1400)
    document = full(interfaces=(*interfaces(SECOND), late))
    assert whole.apply(document).live == ""
    since = len(whole.host.notices)
    whole.out(
        whole.router,
        "ip",
        "link",
        "add",
        "ens9",
        "address",
        "02:00:00:00:00:33",
        "type",
        "veth",
        "peer",
        "name",
        "ens10",
    )
    try:
        assert whole.host.heard(DriftReport, since).service == "interfaces"
        assert whole.report().live == digest(document)
        shown = whole.out(whole.router, "ip", "address", "show", "dev", "eth3")
        assert "192.0.2.1/24" in shown and "mtu 1400" in shown
    finally:
        whole.out(whole.router, "ip", "link", "del", "ens10")


def test_a_document_of_another_machine_is_refused(whole: Lab) -> None:
    """And nothing is touched."""
    assert whole.host is not None
    before = picture(whole)
    with pytest.raises(Exception, match="this is machine"):
        whole.host.call(Apply(msgspec.structs.replace(full(), machine="other")), AgentReport)
    assert picture(whole) == before


def test_a_killed_agent_disturbs_nothing(whole: Lab) -> None:
    """Rules, addresses and daemons stay; the next agent finds them as it left them and says so in its first words."""
    assert whole.host is not None
    before = (whole.daemons(), whole.out(whole.router, "ip", "address"))
    since = len(whole.host.notices)
    whole.kill_agent()
    whole.start_agent()
    hello = whole.host.heard(AgentHello, since)
    assert hello.live == digest(full())
    assert (whole.daemons(), whole.out(whole.router, "ip", "address")) == before


def test_a_restart_without_any_server_makes_everything_again(whole: Lab) -> None:
    """Kernel state and daemons are gone, the host is away: the sealed document is applied all the same."""
    assert whole.host is not None
    whole.kill_agent()
    whole.host.close()
    for name in whole.daemons():
        whole.out(whole.router, "s6-svunlink", "-t", "5000", str(whole.paths.scan), name)
    whole.out(whole.router, "nft", "flush", "ruleset")
    whole.out(whole.router, "ip", "address", "flush", "dev", "eth0")
    whole.out(whole.router, "find", str(whole.paths.run), "-mindepth", "1", "-delete")
    whole.start_agent()
    whole.guest_address()
    until(lambda: whole.asked(whole.guest, ROUTER, "web.cs2.cloud.internal") == GUEST, "DNS without a server")
    whole.serve(whole.guest, GUEST, 80)
    assert until(lambda: whole.reached(whole.outside, PUBLIC, 2080), "a port forward without a server") == f"{OUTSIDE} 80"
    whole.host = type(whole.host)(whole.paths.host_socket)
    assert whole.host.heard(AgentHello).live == digest(full())


def test_a_tampered_document_is_not_applied(whole: Lab) -> None:
    """The agent starts, says why, and has nothing live until the server speaks."""
    assert whole.host is not None
    whole.kill_agent()
    for path in whole.paths.state.glob("*.sealed"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()
        path.write_bytes(data)
    since = len(whole.host.notices)
    whole.start_agent()
    assert whole.host.heard(AgentHello, since).live == ""
    assert "the seal is broken" in (whole.root / "agent.log").read_text()
    assert whole.apply(full()).live == digest(full())


def test_the_state_disk_tells_nothing(whole: Lab) -> None:
    """Neither the document nor the task ledger is readable without the key."""
    data = b"".join(path.read_bytes() for path in whole.paths.state.rglob("*") if path.is_file())
    assert len(data) > 500
    assert not any(word in data for word in (b"secret", b"10.1.1.5", b"cs2.cloud"))


def test_a_new_host_agent_is_found_again(whole: Lab) -> None:
    """The stream ends and comes again; Greet is answered by a hello."""
    assert whole.host is not None
    whole.host.close()
    whole.host = type(whole.host)(whole.paths.host_socket)
    assert whole.host.heard(AgentHello).live == digest(full())
    since = len(whole.host.notices)
    whole.host.call(Greet(), Nothing)
    assert whole.host.heard(AgentHello, since).machine == full().machine


def test_a_task_is_in_the_ledger_until_it_is_forgotten(whole: Lab) -> None:
    """Also over a restart of the agent; a strange parameter fails the task."""
    assert whole.host is not None
    whole.host.call(RunTask(name="bad", body=Diagnose(kind="ping", address=OUTSIDE, params="-f; reboot")), OperationSeen)
    until(lambda: [o for o in whole.report().operations if o.error], "the task to fail")
    whole.kill_agent()
    whole.start_agent()
    (seen,) = whole.report().operations
    assert (seen.name, "takes no" in seen.error) == ("bad", True)
    whole.host.call(ForgetTask(name="bad"), Nothing)
    assert whole.report().operations == ()


def test_thousands_of_reservations_are_served(whole: Lab) -> None:
    """A network of 4,000 guests starts, and one more guest is one more line."""
    network = msgspec.structs.replace(dhcp()[0], cidr="10.1.0.0/16")
    first = network.reservations[0]
    many = [
        msgspec.structs.replace(
            first,
            mac=f"02:01:00:00:{n >> 8:02x}:{n & 255:02x}",
            address=f"10.1.{16 + (n >> 8)}.{n & 255}",
            hostname=f"vm-{n}",
        )
        for n in range(4000)
    ]
    document = full(dhcp=(msgspec.structs.replace(network, reservations=(first, *many)),))
    assert whole.apply(document).live == digest(document)
    assert whole.asked(whole.guest, ROUTER, "vm-3999.cs2.cloud.internal") == "10.1.31.159"


def test_power_off_ends_services_and_then_the_machine(whole: Lab) -> None:
    """Answered first; then the daemons stop and the template's program is called."""
    assert whole.host is not None
    whole.host.call(PowerOff(), Nothing)
    until((whole.root / "powered-off").exists, "the end of the machine")
    assert whole.daemons() == {}
