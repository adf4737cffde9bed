"""Sessions that end, follow one another and send each other turns. The same promises on both databases."""

from sysvm.store import tables
from sysvm.store.queries import sessions, turns
from sysvm.store.queries.sessions import Server
from sysvm.store.queries.turns import SESSION_TTL_S, Turn
from sysvm.store.store import Row, Tx
from tests.store.conftest import Stage
from tests.store.test_turns import _host, claim, holds, session, wish

SERVER = Server("uuid-a", "a", "", "test")


async def host(stage: Stage, name: str, link_session: str | None) -> int:
    """A host whose link that session has."""
    return await stage.store.run(lambda tx: _host(tx, name, link_session))


async def row(stage: Stage, id_: int) -> Row:
    """A host's row."""
    found = await stage.store.read(lambda tx: tx.get(tables.host, id_))
    assert found is not None
    return found


async def test_a_successor_has_the_links_that_stand_and_none_of_the_turns(stage: Stage):
    """Turns are free; a host that is no longer linked, or is linked to another server, is not its own. Twice is as once."""
    a, b = await session(stage, "a"), await session(stage, "b")
    kept, lost, taken = await host(stage, "h1", a), await host(stage, "h2", a), await host(stage, "h3", b)
    await wish(stage, 1)
    (turn,) = await claim(stage, a)
    for _ in range(2):
        got = await stage.store.run(lambda tx: sessions.succeed(tx, a, "c", SERVER, {kept, taken}))
        assert {kept} == got
    assert not await holds(stage, a, turn)
    assert ["b", "c"] == sorted(await stage.store.read(lambda tx: [id_ for (id_,) in tx.sql("select id from session")]))
    assert ["c", None, "b"] == [(await row(stage, id_)).link_session for id_ in (kept, lost, taken)]
    assert (await row(stage, lost)).disconnected is not None
    (again,) = await claim(stage, "c")
    assert turn.fence + 1 == again.fence


async def test_a_session_that_is_over_is_not_alive(stage: Stage):
    """Nor is one that never was."""
    await session(stage, "a")
    assert await stage.store.read(lambda tx: sessions.is_alive(tx, "a"))
    assert not await stage.store.read(lambda tx: sessions.is_alive(tx, "b"))
    await stage.pass_time(SESSION_TTL_S + 1)
    assert not await stage.store.read(lambda tx: sessions.is_alive(tx, "a"))
    assert await stage.store.read(sessions.are_some_over)


async def test_the_hosts_of_a_dead_session_have_no_link_since_its_burial(stage: Stage):
    """So that somebody is told when they do not come back."""
    a, b = await session(stage, "a"), await session(stage, "b")
    of_a, of_b = await host(stage, "h1", a), await host(stage, "h2", b)
    await stage.store.run(sessions.bury)
    assert (await row(stage, of_a)).disconnected is None
    await stage.pass_time(SESSION_TTL_S - 1)
    assert await stage.store.run(lambda tx: turns.beat(tx, b))
    await stage.pass_time(2)
    await stage.store.run(sessions.bury)
    assert (None, b) == ((await row(stage, of_a)).link_session, (await row(stage, of_b)).link_session)
    assert (await row(stage, of_a)).disconnected is not None and (await row(stage, of_b)).disconnected is None


async def test_turns_that_nobody_works_on_are_given_back_by_their_fences(stage: Stage):
    """Those that a worker has stay; an older claim of the same turn is none."""
    a = await session(stage, "a")
    for id_ in (1, 2, 3):
        await wish(stage, id_)
    held, lost, older = sorted(await claim(stage, a), key=lambda turn: turn.id)
    have = frozenset({(held.kind, held.id, held.fence), (older.kind, older.id, older.fence - 1)})
    assert 2 == await stage.store.run(lambda tx: sessions.give_back(tx, a, have))
    assert [True, False, False] == [await holds(stage, a, turn) for turn in (held, lost, older)]
    assert {2, 3} == {turn.id for turn in await claim(stage, a)}


async def test_a_turn_that_needs_a_host_goes_to_the_server_that_has_its_link(stage: Stage):
    """Of the kinds that wander; not to ourselves, not to the dead; and it is anybody's when the link ends."""
    a, b = await session(stage, "a"), await session(stage, "b")
    of_a, of_b, of_dead = await host(stage, "h1", a), await host(stage, "h2", b), await host(stage, "h3", "dead")
    await wish(stage, 1, "template")
    await wish(stage, 2, "machine")
    template, machine = sorted(await claim(stage, a), key=lambda turn: turn.id)

    async def sent(turn: Turn, to: int) -> bool:
        def op(tx: Tx) -> bool:
            return turns.release(tx, a, turn, after=500) and sessions.send(tx, a, turn, to)

        return await stage.store.run(op)

    assert not await sent(machine, of_b)
    for to in (of_a, of_dead):
        assert not await stage.store.run(lambda tx, to=to: sessions.send(tx, a, template, to))  # type: ignore[misc]
    assert await sent(template, of_b)
    assert [] == list(await claim(stage, a))
    (got,) = await claim(stage, b)
    assert ("template", 1, template.fence + 1) == (got.kind, got.id, got.fence)
    await stage.store.run(lambda tx: turns.release(tx, b, got, after=0))
    await stage.store.run(sessions.bring_back)
    assert [] == list(await claim(stage, a))
    await stage.store.run(lambda tx: tx.update(tables.host, of_b, link_session=None))
    await stage.store.run(sessions.bring_back)
    assert [1] == [turn.id for turn in await claim(stage, a)]
