"""Turns, sessions and fences: who may work on what. The same promises on both databases."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.queries.turns import LONGEST_SLEEP_S, SESSION_TTL_S, Turn
from sysvm.store.store import Tx
from tests.store.conftest import Stage


async def session(stage: Stage, name: str) -> str:
    """A server process."""
    await stage.store.run(lambda tx: turns.open_session(tx, name, f"uuid-{name}", name, "", "test"))
    return name


async def wish(stage: Stage, id_: int, kind: str = "machine", **more: object) -> int:
    """Something is wanted."""
    return await stage.store.run(lambda tx: turns.wish(tx, kind, id_, **more))  # type: ignore[arg-type]


async def claim(stage: Stage, name: str, batch: int = 32) -> Sequence[Turn]:
    """What this session gets."""
    return await stage.store.run(lambda tx: turns.claim(tx, name, batch))


async def release(stage: Stage, name: str, turn: Turn, after: float = 100.0) -> bool:
    """Gives it back."""
    return await stage.store.run(lambda tx: turns.release(tx, name, turn, after=after))


async def holds(stage: Stage, name: str, turn: Turn) -> bool:
    """Whether a write of this worker counts."""
    return await stage.store.read(lambda tx: turns.holds(tx, name, turn))


async def test_a_live_sessions_turn_is_never_taken(stage: Stage):
    """However often another one asks."""
    a, b = await session(stage, "a"), await session(stage, "b")
    await wish(stage, 1)
    (turn,) = await claim(stage, a)
    assert [] == list(await claim(stage, b))
    await stage.pass_time(SESSION_TTL_S - 1)
    assert await stage.store.run(lambda tx: turns.beat(tx, a))
    assert await stage.store.run(lambda tx: turns.beat(tx, b))
    await stage.pass_time(SESSION_TTL_S - 1)
    assert [] == list(await claim(stage, b))
    assert await holds(stage, a, turn)


async def test_a_dead_sessions_turn_is_taken_with_a_higher_fence(stage: Stage):
    """And the dead one's late words count for nothing."""
    a = await session(stage, "a")
    await wish(stage, 1)
    (late,) = await claim(stage, a)
    await stage.pass_time(SESSION_TTL_S + 1)
    b = await session(stage, "b")
    (turn,) = await claim(stage, b)
    assert turn.fence == late.fence + 1
    assert not await holds(stage, a, late)
    assert not await release(stage, a, late)
    assert not await stage.store.run(lambda tx: turns.beat(tx, a))
    assert await holds(stage, b, turn)


async def test_a_dead_session_claims_nothing(stage: Stage):
    """It may not know yet that it is dead."""
    a = await session(stage, "a")
    await wish(stage, 1)
    await stage.pass_time(SESSION_TTL_S + 1)
    assert [] == list(await claim(stage, a))


async def test_one_claim_of_two_in_a_session_wins(stage: Stage):
    """A fence is raised by each claim; the older turn of the same session is stale too."""
    a = await session(stage, "a")
    await wish(stage, 1)
    (first,) = await claim(stage, a)
    await release(stage, a, first, after=0)
    (second,) = await claim(stage, a)
    assert not await holds(stage, a, first)
    assert not await release(stage, a, first)
    assert await release(stage, a, second)


async def test_batches_are_the_oldest_due_first(stage: Stage):
    """Three now, the rest later; nothing that is not due."""
    a = await session(stage, "a")
    for number, after in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 1000.0)):
        await wish(stage, number, after=after)
    await stage.pass_time(4.0)
    assert await stage.store.run(lambda tx: turns.beat(tx, a))
    assert [] == list(await claim(stage, a))
    for _ in range(10):
        await stage.pass_time(4.0)
        assert await stage.store.run(lambda tx: turns.beat(tx, a))
    assert {2, 3, 1} == {turn.id for turn in await claim(stage, a, 3)}
    assert [4] == [turn.id for turn in await claim(stage, a, 3)]
    assert [] == list(await claim(stage, a, 3))


async def test_a_hosts_turns_go_to_the_server_that_holds_its_link(stage: Stage):
    """To nobody when nobody does."""
    a, b = await session(stage, "a"), await session(stage, "b")
    host = await stage.store.run(lambda tx: _host(tx, "h1", link_session="b"))
    lonely = await stage.store.run(lambda tx: _host(tx, "h2", link_session=None))
    await wish(stage, 1, "placement", host=host)
    await wish(stage, 2, "placement", host=lonely)
    await wish(stage, 3)
    assert [3] == [turn.id for turn in await claim(stage, a)]
    assert [1] == [turn.id for turn in await claim(stage, b)]


def _host(tx: Tx, name: str, link_session: str | None) -> int:
    life = {"created": tx.now}
    zone = tx.insert(tables.zone, uuid=f"z{name}", name=name, **life)
    pod = tx.insert(tables.pod, uuid=f"p{name}", zone_id=zone, name=name, gateway="10.0.0.1", netmask="255.0.0.0",
                    **life)  # fmt: skip
    cluster = tx.insert(tables.cluster, uuid=f"c{name}", zone_id=zone, pod_id=pod, name=name, hypervisor="KVM", **life)
    return tx.insert(tables.host, uuid=f"h{name}", name=name, zone_id=zone, pod_id=pod, cluster_id=cluster,
                     hypervisor="KVM", address="10.0.0.2", link_session=link_session, **life)  # fmt: skip


async def test_a_wish_during_the_turn_makes_it_due_at_once(stage: Stage):
    """Nothing that was wanted while somebody worked is slept over."""
    a = await session(stage, "a")
    assert 1 == await wish(stage, 1)
    (turn,) = await claim(stage, a)
    assert 2 == await wish(stage, 1)
    await release(stage, a, turn, after=500)
    (again,) = await claim(stage, a)
    assert 2 == again.wish


async def test_news_during_the_turn_makes_it_due_at_once(stage: Stage):
    """A look that may be outdated is done again; the wish stays the same."""
    a = await session(stage, "a")
    await wish(stage, 1)
    (turn,) = await claim(stage, a)
    await stage.store.run(lambda tx: turns.look_again(tx, "machine", 1))
    await release(stage, a, turn, after=500)
    (again,) = await claim(stage, a)
    assert (turn.wish, turn.stir + 1) == (again.wish, again.stir)
    await release(stage, a, again, after=500)
    assert [] == list(await claim(stage, a))


async def test_tries_count_until_a_release_says_otherwise(stage: Stage):
    """A crashed worker's try counts as well."""
    a = await session(stage, "a")
    await wish(stage, 1)
    (turn,) = await claim(stage, a)
    await stage.store.run(lambda tx: turns.release(tx, a, turn, after=0, tries=turn.tries))
    (again,) = await claim(stage, a)
    assert (1, 2) == (turn.tries, again.tries)
    await release(stage, a, again, after=0)
    assert [1] == [one.tries for one in await claim(stage, a)]


async def test_fences_go_on_over_a_turn_that_was_forgotten(stage: Stage):
    """What a host has seen of the old turn must be lower than what the next one brings."""
    a = await session(stage, "a")
    await wish(stage, 1, "placement")
    (turn,) = await claim(stage, a)
    last = await stage.store.run(lambda tx: turns.forget(tx, "placement", 1))
    assert turn.fence == last
    assert 0 == await stage.store.run(lambda tx: turns.forget(tx, "placement", 1))
    await wish(stage, 2, "placement", fence=last)
    (next_,) = await claim(stage, a)
    assert next_.fence > last


async def test_a_clock_that_was_set_back_strands_nothing(stage: Stage):
    """Due in an impossible future becomes due in the longest sleep; and `next_due` never says later."""
    await wish(stage, 1, after=1e7)
    now = await stage.store.read(lambda tx: tx.now)
    due = await stage.store.read(lambda tx: turns.next_due(tx, "a"))
    assert due is not None and due <= now + LONGEST_SLEEP_S + 5
    await stage.store.run(turns.mend_clock_step)
    stored = await stage.store.read(lambda tx: tx.value(sa.select(tables.turn.c.due)))
    assert stored <= now + LONGEST_SLEEP_S + 5


async def test_next_due_sees_free_turns_only(stage: Stage):
    """A turn that somebody works on is not waited for."""
    a = await session(stage, "a")
    assert None is await stage.store.read(lambda tx: turns.next_due(tx, "a"))
    await wish(stage, 1)
    assert 0 == await stage.store.read(lambda tx: turns.next_due(tx, "a"))
    await claim(stage, a)
    assert None is await stage.store.read(lambda tx: turns.next_due(tx, "a"))


async def test_dead_sessions_are_buried_with_their_links(stage: Stage):
    """Living ones are not."""
    a = await session(stage, "a")
    host = await stage.store.run(lambda tx: _host(tx, "h", link_session="a"))
    await wish(stage, 1)
    (turn,) = await claim(stage, a)
    await stage.store.run(turns.bury_dead_sessions)
    assert await holds(stage, a, turn)
    await stage.pass_time(SESSION_TTL_S + 1)
    await stage.store.run(turns.bury_dead_sessions)
    assert not await holds(stage, a, turn)
    assert [] == await stage.store.read(lambda tx: tx.sql("select id from session"))
    row = await stage.store.read(lambda tx: tx.get(tables.host, host))
    assert row is not None and None is row.link_session


async def test_a_session_that_ends_in_order_frees_its_turns_at_once(stage: Stage):
    """Nobody waits for its time to run out."""
    a, b = await session(stage, "a"), await session(stage, "b")
    await wish(stage, 1)
    await claim(stage, a)
    await stage.store.run(lambda tx: turns.close_session(tx, a))
    assert [1] == [turn.id for turn in await claim(stage, b)]


async def test_the_lock_of_sqlite_ends_all_predecessors(stage: Stage):
    """Take-over in no time."""
    await session(stage, "a")
    await wish(stage, 1)
    await claim(stage, "a")
    b = await session(stage, "b")
    await stage.store.run(lambda tx: turns.end_other_sessions(tx, b))
    assert [1] == [turn.id for turn in await claim(stage, b)]
    assert not await stage.store.run(lambda tx: turns.beat(tx, "a"))


async def test_claimers_that_meet_never_get_the_same_turn(stage: Stage):
    """Eight claimers in two processes at once until nothing is left: each turn once."""
    await stage.store.run(lambda tx: [turns.wish(tx, "machine", id_) for id_ in range(400)])
    names = [await session(stage, f"s{number}") for number in range(8)]
    got: Counter[int] = Counter()

    async def work(number: int, name: str) -> None:
        store = (stage.store, stage.other)[number % 2]
        while claimed := await store.run(lambda tx: turns.beat(tx, name) and turns.claim(tx, name, 7)):
            assert len(claimed) <= 7
            got.update(turn.id for turn in claimed)

    await asyncio.gather(*(work(number, name) for number, name in enumerate(names)))
    left = await stage.store.read(lambda tx: tx.sql("select count(*) from turn where session is null"))
    # A claimer may come back empty-handed from a conflict, so something may be left; but nothing is had twice.
    assert {1} == set(got.values())
    assert 400 == len(got) + left[0][0]
    assert len(got) > 300


async def test_wishes_that_meet_are_counted(stage: Stage):
    """Forty wishes at once are forty numbers."""
    stores = (stage.store, stage.other)
    numbers = await asyncio.gather(
        *(stores[n % 2].run(lambda tx: turns.wish(tx, "machine", 1)) for n in range(40))
    )  # fmt: skip
    assert list(range(1, 41)) == sorted(numbers)
