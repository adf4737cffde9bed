"""Every command of the first rank can be called. What is still missing is printed."""

from sysvm.api import catalogue, commands, handlers

assert commands


def test_every_command_of_the_first_rank_has_a_handler():
    """Tier A of the catalogue; B is made when somebody needs it."""
    known = catalogue.commands().values()
    missing = {}
    for command in known:
        if command.tier == "A" and command.kind != "session" and handlers.find(command.name) is None:
            missing.setdefault(command.section, []).append(command.name)
    lines = [f"{section}: {', '.join(names)}" for section, names in missing.items()]
    assert lines == [], "\n".join(["without a handler:", *lines])
