"""What of the catalogue can be called, and that callers are told the truth about the rest."""

from sysvm.api import catalogue, commands, handlers
from tests.api.stage import Stage, refusal

assert commands

COMPLETE = ("01", "02", "03", "05", "06", "07", "08", "09", "10", "18", "19")  # sections whose first rank is all there


def test_what_has_no_handler_is_on_the_list_and_nothing_else_is():
    """not_yet.txt is exact both ways: a command without a handler is on it, one with a handler is not."""
    known = catalogue.commands().values()
    unserved = {command.name for command in known if command.kind != "session" and handlers.find(command.name) is None}
    assert sorted(unserved) == sorted(catalogue.not_yet())


def test_every_command_of_the_first_rank_of_a_finished_section_is_served():
    """Tier A of discovery, system VMs, routers, settings, zones, stores, offerings, networks, guests and accounts."""
    missing = [
        f"{command.section}: {command.name}"
        for command in catalogue.commands().values()
        if command.tier == "A" and command.section[:2] in COMPLETE and command.name in catalogue.not_yet()
    ]
    assert missing == []


def test_each_entry_of_the_list_has_a_feature():
    """Callers are told what is missing."""
    assert [name for name, feature in catalogue.not_yet().items() if not feature] == []


async def test_a_command_that_is_not_served_says_so(stage: Stage):
    """432, and a sentence that is not the one for a wrong name; the envelope is that of an unknown command."""
    for command in catalogue.not_yet():
        answer = await stage.admin.ask(command)
        text = answer.json["errorresponse"]["errortext"]
        assert (answer.status, f"The command {command} is not served by this release" in text) == (432, True), text


async def test_who_may_not_call_it_is_not_told_what_this_release_serves(stage: Stage):
    """A user hears of a root admin's command what he hears of every such command."""
    user = await stage.user()
    with refusal(432, "either does not exist"):
        await user("addTrafficMonitor")
    with refusal(432, "not served by this release"):
        await user("listVirtualMachinesUsageHistory")


async def test_what_is_not_served_is_not_listed(stage: Stage):
    """listApis shows what works, also among the relatives of a command."""
    rows = await stage.admin("listApis")
    listed = {row["name"] for row in rows}
    related = {name for row in rows for name in row["related"].split(",") if name}
    assert (listed | related) & set(catalogue.not_yet()) == set()
