"""What is told of errors that tasks of tasks have raised."""

import pytest

from sysvm.basics.errors import NotYet, Refused, leaves
from sysvm.cli import main


def test_leaves_are_told_in_order_whatever_their_depth():
    """Groups themselves are not."""
    first, second, third = Refused("one"), OSError("two"), NotYet(1, "three")
    group = ExceptionGroup("all", [first, ExceptionGroup("some", [second, ExceptionGroup("few", [third])])])
    assert [first, second, third] == list(leaves(group))


def test_a_command_says_why_not_whoever_raised_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A sentence for each, no traceback, and exit code 1."""

    def refuse() -> None:
        raise ExceptionGroup("a task", [ExceptionGroup("its task", [Refused("the disk is full"), NotYet(1, "wait for it")])])

    monkeypatch.setattr(main, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert 1 == ended.value.code
    assert "sysvm: the disk is full\nsysvm: wait for it\n" == capsys.readouterr().err
