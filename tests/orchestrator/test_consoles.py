"""Console sessions over a whole server: tickets, pages that come back, proxies that are emptied, fleets that shrink."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused
from sysvm.orchestrator import consoles
from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import ConsoleSession, ConsoleTarget, LoadReport, RedeemTicket, ResumeSession
from tests.api.stage import Answer, send
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import running

CLIENT = "198.51.100.7"


class Console:
    """A guest, and a browser that looks at it."""

    def __init__(self, tale: Tale, guest: str) -> None:
        self.tale, self.guest = tale, guest

    async def ticket(self) -> str:
        """A new one from the API."""
        said = await self.tale.ask("createConsoleEndpoint", virtualmachineid=self.guest)
        assert said["success"], said
        return str(said["websocket"]["token"])

    async def redeem(self, proxy: str, ticket: str, client: str = CLIENT) -> ConsoleTarget:
        """As the proxy's agent asks."""
        ask = RedeemTicket(ticket=ticket, client=client)
        return await self._do(lambda tx, context: consoles.redeem(tx, context, proxy, ask))

    async def resume(self, proxy: str, secret: str, client: str = CLIENT) -> ConsoleTarget:
        """The same for a page that comes back."""
        ask = ResumeSession(secret=secret, client=client)
        return await self._do(lambda tx, context: consoles.resume(tx, context, proxy, ask))

    async def report(self, proxy: str, *sessions: str, removed: tuple[str, ...] = ()) -> None:
        """What the proxy says it carries."""
        now = self.tale.cloud.clock.now()
        carried = tuple(
            ConsoleSession(session=one, guest="g", client=CLIENT, since=now, last_used=now, round_trip_ms=12.5)
            for one in sessions
        )
        report = LoadReport(sessions=carried, removed=removed)
        await self.tale.cloud.store.run(lambda tx: consoles.load(tx, proxy, report))

    async def _do(self, op: Any) -> Any:
        server = self.tale.cloud.server_now
        assert server is not None
        return await self.tale.cloud.store.run(lambda tx: op(tx, server.context))

    async def session(self) -> Row:
        """The only one."""
        (row,) = await self.tale.rows(tables.console_session)
        return row


async def console(tale: Tale, proxies: int = 1) -> tuple[Console, list[str]]:
    """A console, and so many proxies."""
    await change(tale, "consoleproxy.min", str(proxies))
    await tale.system_vms(proxies + 1)
    network = await tale.cloud.network(tale.zone_id)
    guest = await tale.cloud.guest(network, "g")
    await tale.until(running(guest))
    found = await tale.ask("listSystemVms", systemvmtype="consoleproxy")
    return Console(tale, (await tale.cloud.row(tables.machine, guest)).uuid), [row["id"] for row in found]


async def change(tale: Tale, name: str, value: str) -> None:
    """A setting."""
    await tale.cloud.store.run(lambda tx: settings.store(tx, settings.find(name), value))


def test_a_ticket_works_once_at_its_proxy_and_the_secret_that_it_gives_at_any():
    """Each use of the secret gives the next one; the one before works until the next is used."""

    async def story(tale: Tale) -> None:
        eye, (one, two) = await console(tale, proxies=2)
        ticket = await eye.ticket()
        with pytest.raises(Refused):
            await eye.redeem(two, ticket)
        first = await eye.redeem(one, ticket)
        with pytest.raises(Refused):
            await eye.redeem(one, ticket)
        second = await eye.resume(two, first.resume)
        assert (second.session, second.guest) == (first.session, first.guest)
        again = await eye.resume(one, first.resume)
        await eye.resume(two, again.resume)
        for old in (first.resume, second.resume, ticket, ""):
            with pytest.raises(Refused, match="is over"):
                await eye.resume(two, old)
        (row,) = await tale.ask("listConsoleSessions")
        assert (row["id"], row["clientaddress"]) == (first.session, CLIENT)

    tell(story)


def test_where_a_balancer_chooses_any_proxy_takes_a_ticket():
    """All have one name; the ticket still works once."""

    async def story(tale: Tale) -> None:
        eye, (_, two) = await console(tale, proxies=2)
        await change(tale, "consoleproxy.url.domain", "consoles.company.com")
        ticket = await eye.ticket()
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm")
        with pytest.raises(Refused):
            await eye.redeem(worker["id"], ticket)
        await eye.redeem(two, ticket)
        with pytest.raises(Refused):
            await eye.redeem(two, ticket)

    tell(story)


def test_a_session_that_was_lost_comes_back_for_a_while_and_not_for_ever():
    """Its own proxy may end it, another one may not."""

    async def story(tale: Tale) -> None:
        eye, (one, two) = await console(tale, proxies=2)
        target = await eye.redeem(one, await eye.ticket())
        target = await eye.resume(two, target.resume)
        await eye.report(one, removed=(target.session,))
        assert (await eye.session()).ended is None
        await eye.report(two, target.session)
        assert (await tale.one("listConsoleSessions"))["roundtripms"] == 12.5
        shown = {row["id"]: row.get("consoleroundtripms") for row in await tale.ask("listSystemVms")}
        assert (shown[one], shown[two]) == (None, 12.5)
        await eye.report(two, removed=(target.session,))
        assert (await eye.session()).ended is not None
        target = await eye.resume(one, target.resume)
        assert (await eye.session()).ended is None
        await eye.report(one, removed=(target.session,))
        await tale.cloud.clock.sleep(consoles.RESUME_S + 1)
        with pytest.raises(Refused):
            await eye.resume(one, target.resume)

    tell(story)


def test_a_session_follows_a_guest_that_moves_while_it_runs():
    """The page comes back with its secret, and is led to the relay of the other host."""

    async def story(tale: Tale) -> None:
        eye, (proxy,) = await console(tale)
        first = await eye.redeem(proxy, await eye.ticket())
        await tale.job("migrateVirtualMachine", virtualmachineid=first.guest, autoselect="true")
        again = await eye.resume(proxy, first.resume)
        assert (again.session, again.guest) == (first.session, first.guest)
        assert again.relay_host not in ("", first.relay_host)

    tell(story, hosts=2)


def test_a_proxy_that_died_without_a_word_leaves_no_session_open_for_ever():
    """Its next life reports without it."""

    async def story(tale: Tale) -> None:
        eye, (proxy,) = await console(tale)
        await eye.redeem(proxy, await eye.ticket())
        await eye.report(proxy)
        assert (await eye.session()).ended is None, "a report may have been written before the session began"
        await tale.cloud.clock.sleep(consoles.REPORT_LAG_S + 1)
        await eye.report(proxy)
        assert (await eye.session()).ended is not None
        assert await tale.ask("listConsoleSessions") == []

    tell(story)


def test_who_may_not_come_back():
    """A user who was disabled, a browser at another address where that counts, a guest that is off."""

    async def story(tale: Tale) -> None:
        eye, (proxy,) = await console(tale)
        target = await eye.redeem(proxy, await eye.ticket())
        await change(tale, "novnc.console.sourceip.check.enabled", "true")
        with pytest.raises(Refused):
            await eye.resume(proxy, target.resume, client="203.0.113.99")
        await change(tale, "novnc.console.sourceip.check.enabled", "false")
        await _set(tale, tables.user, (await eye.session()).user_id, state="disabled")
        with pytest.raises(Refused):
            await eye.resume(proxy, target.resume)
        await _set(tale, tables.user, (await eye.session()).user_id, state="enabled")
        await _set(tale, tables.machine, (await eye.session()).machine_id, power="stopped")
        with pytest.raises(NotYet, match="not running"):
            await eye.resume(proxy, target.resume)

    tell(story)


async def _set(tale: Tale, table: sa.Table, id_: int, **values: Any) -> None:
    await tale.cloud.store.run(lambda tx: tx.update(table, id_, **values))


@pytest.mark.parametrize("command", ["rebootSystemVm", "destroySystemVm", "stopSystemVm", "patchSystemVm"])
def test_a_proxy_is_emptied_before_it_ends(command: str):
    """Its document says drain and names the other one; when the session has moved, it goes."""

    async def story(tale: Tale) -> None:
        eye, (one, two) = await console(tale, proxies=2)
        await change(tale, "consoleproxy.restart", "false")
        target = await eye.redeem(one, await eye.ticket())
        accepted = await tale.ask(command, id=one)
        drained = sa.select(tables.machine).where(tables.machine.c.uuid == one, tables.machine.c.draining)
        proxy = await tale.until(lambda tx: tx.one(drained))
        assert proxy.power == "running"
        told = await tale.cloud.store.read(lambda tx: tx.get(tables.machine, proxy.id))
        assert "moving to another proxy" in told.note or told.note == ""
        assert not (await tale.ask("queryAsyncJobResult", jobid=accepted["jobid"]))["jobstatus"]
        await eye.resume(two, target.resume)
        await tale.until(lambda tx: _over(tx, accepted["jobid"]))
        assert await tale.cloud.store.read(lambda tx: not tx.get(tables.machine, proxy.id).draining)
        assert (await eye.session()).ended is None

    tell(story)


def _over(tx: Tx, job: str) -> bool:
    (row,) = tx.rows(tables.job, "uuid = :uuid", uuid=job)
    return bool(row.status)


@pytest.mark.parametrize(("proxies", "forced"), [(1, "false"), (2, "true")])
def test_nobody_is_waited_for_by_force_or_when_there_is_no_elsewhere(proxies: int, forced: str):
    """The page comes back when the proxy does."""

    async def story(tale: Tale) -> None:
        eye, (one, *_) = await console(tale, proxies=proxies)
        target = await eye.redeem(one, await eye.ticket())
        began = tale.cloud.clock.now()
        await tale.job("rebootSystemVm", id=one, forced=forced)
        assert tale.cloud.clock.now() - began < 15
        assert (await eye.resume(one, target.resume)).session == target.session

    tell(story)


def test_a_page_that_does_not_move_is_not_waited_for_long():
    """A program that speaks no control frames, say."""

    async def story(tale: Tale) -> None:
        eye, (one, _) = await console(tale, proxies=2)
        await eye.redeem(one, await eye.ticket())
        await tale.job("rebootSystemVm", id=one)
        (row,) = await tale.ask("listSystemVms", id=one)
        assert row["state"] == "Running"

    tell(story)


def test_a_proxy_that_nobody_needs_is_retired_with_its_address():
    """The newest goes first; one stays."""

    async def story(tale: Tale) -> None:
        await change(tale, "consoleproxy.retire.after", "600")
        _, (one, _) = await console(tale, proxies=2)
        await change(tale, "consoleproxy.min", "1")
        await tale.cloud.clock.sleep(900)
        (row,) = await tale.ask("listSystemVms", systemvmtype="consoleproxy")
        assert (row["id"], row["state"]) == (one, "Running")
        held = await tale.rows(tables.public_ip, tables.public_ip.c.system, tables.public_ip.c.machine_id.is_not(None))
        assert len(held) == 2, "one of the proxy, one of the secondary storage VM"

    tell(story)


async def browse(tale: Tale, query: str) -> Answer:
    """What the admin's browser gets at the old address of consoles."""
    app = tale.client.ask.app
    (user,) = await tale.ask("listUsers", username="admin")
    await tale.ask("updateUser", id=user["id"], password="secret")
    words = b"command=login&username=admin&password=secret&response=json"
    cookies = (await send(app, method="POST", body=words)).cookies
    header = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    return await send(app, f"{query}&sessionkey={cookies['sessionkey']}", path="/client/console", headers=header)


@pytest.mark.parametrize(("detail", "language"), [("de-ch", ["de-ch"]), ("", []), ("x&token=mine", [])])
def test_the_page_is_told_which_keyboard_the_guest_has(detail: str, language: list[str]):
    """The detail that deployVirtualMachine makes of `keyboard`; anything else is not for an address."""

    async def story(tale: Tale) -> None:
        eye, _ = await console(tale)
        if detail:
            asked = {"details[0].keyboard": detail}
            await tale.ask("updateVirtualMachine", id=eye.guest, **asked)
        said = await tale.ask("createConsoleEndpoint", virtualmachineid=eye.guest)
        assert parse_qs(urlsplit(said["url"]).query).get("language", []) == language

    tell(story)


def test_the_old_address_of_consoles_leads_to_the_same_page():
    """cmd=access to the page, cmd=thumbnail to a picture; each with a ticket of its own."""

    async def story(tale: Tale) -> None:
        eye, (proxy,) = await console(tale)
        for query, path in (
            (f"cmd=access&vm={eye.guest}", "/resource/noVNC/vnc.html"),
            (f"cmd=thumbnail&vm={eye.guest}&w=100&h=75", "/getscreen"),
        ):
            answer = await browse(tale, query)
            where = urlsplit(answer.header("location"))
            given = {name: values[0] for name, values in parse_qs(where.query).items()}
            assert (answer.status, where.path) == (302, path)
            assert (await eye.redeem(proxy, given["token"])).guest == eye.guest
        assert (given["w"], given["h"]) == ("100", "75")
        assert (await browse(tale, "cmd=access")).status == 400
        assert (await browse(tale, f"cmd=auth&vm={eye.guest}")).status == 400
        assert (await browse(tale, "cmd=access&vm=5b0f2f3c-0000-4000-8000-00000000dead")).status == 431
        nobody = await send(tale.client.ask.app, f"cmd=access&vm={eye.guest}", path="/client/console")
        assert nobody.status == 401

    tell(story)
