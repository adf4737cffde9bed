"""What survives a restart: seals, documents, the ledger of tasks. Pure but for a folder."""

from pathlib import Path

import msgspec
import pytest

from sysvm.agent.documents import Documents
from sysvm.agent.ledger import Ledger
from sysvm.agent.seal import Seal, Tampered
from sysvm.wire.channel import Diagnose, Diagnosed
from sysvm.wire.machines import OperationState
from tests.agent.documents import dns, router

BODY = Diagnose(kind="ping", address="10.1.1.5")


@pytest.mark.parametrize("plain", [b"", b"x", b"\0" * 100_000])
def test_a_seal_gives_back_what_it_was_given(plain: bytes) -> None:
    """And never shows it, nor the same bytes twice."""
    seal = Seal("key")
    closed = seal.close(plain, "document")
    assert seal.open(closed, "document") == plain
    assert closed != seal.close(plain, "document")
    assert b"\0" * 32 not in closed


def test_a_seal_opens_for_nobody_else() -> None:
    """Another key, another purpose, a changed or missing byte."""
    closed = Seal("key").close(b"document", "document")
    changed = [closed[:at] + bytes((closed[at] ^ 1,)) + closed[at + 1 :] for at in range(len(closed))]
    for bad in (*changed, closed[:-1], b"", closed + b"x"):
        with pytest.raises(Tampered):
            Seal("key").open(bad, "document")
    for key, purpose in (("other", "document"), ("key", "ledger")):
        with pytest.raises(Tampered):
            Seal(key).open(closed, purpose)


def test_the_next_life_begins_with_the_good_and_then_the_wanted_document(tmp_path: Path) -> None:
    """Once, when they are the same; in order, when the newest never became live."""
    first, second = router(), router(dns=dns())
    documents = Documents(tmp_path, Seal("key"))
    documents.remember_wanted(first)
    assert Documents(tmp_path, Seal("key")).restored() == (first,)
    documents.remember_good(first)
    assert Documents(tmp_path, Seal("key")).restored() == (first,)
    documents.remember_wanted(second)
    assert Documents(tmp_path, Seal("key")).restored() == (first, second)
    documents.remember_good(second)
    assert Documents(tmp_path, Seal("key")).restored() == (second,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.sealed", "wanted.sealed"]


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The document is applied all the same, so remembering must not raise."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    Documents(blocked, Seal("key")).remember_wanted(router())


def test_a_task_keeps_its_outcome_over_a_restart(tmp_path: Path) -> None:
    """Running ones come back as unfinished, with their bodies."""
    ledger = Ledger(tmp_path / "tasks", Seal("key"))
    ledger.begin("one", BODY)
    ledger.begin("two", BODY)
    ledger.move("two", 0.5)
    ledger.end("one", result=Diagnosed(exit_code=0, stdout="ok", stderr=""))
    again = Ledger(tmp_path / "tasks", Seal("key"))
    assert again.unfinished() == (("two", BODY),)
    assert [(seen.name, seen.state) for seen in again.operations()] == [
        ("one", OperationState.DONE),
        ("two", OperationState.RUNNING),
    ]
    result = again.operations()[0].result
    assert result is not None and msgspec.msgpack.decode(result, type=Diagnosed).stdout == "ok"
    again.forget("one")
    again.end("two", error="no luck")
    third = Ledger(tmp_path / "tasks", Seal("key"))
    assert [(seen.name, seen.state, seen.error) for seen in third.operations()] == [("two", OperationState.FAILED, "no luck")]


def test_a_forgotten_task_has_no_outcome(tmp_path: Path) -> None:
    """Its end comes too late."""
    ledger = Ledger(tmp_path / "tasks", Seal("key"))
    ledger.begin("one", BODY)
    ledger.forget("one")
    assert (ledger.end("one", error="late"), ledger.move("one", 0.5), ledger.operations()) == (None, None, ())


def test_of_tasks_that_have_ended_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run stay, however old."""
    monkeypatch.setattr("sysvm.agent.ledger.MOST_ENDED", 3)
    ledger = Ledger(tmp_path / "tasks", Seal("key"))
    ledger.begin("runs", BODY)
    for number in range(6):
        ledger.begin(f"t{number}", BODY)
        ledger.end(f"t{number}", error="no luck")
    ledger.begin("new", BODY)
    again = Ledger(tmp_path / "tasks", Seal("key"))
    assert ["runs", "t3", "t4", "t5", "new"] == [seen.name for seen in again.operations()]
