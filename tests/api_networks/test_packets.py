"""explainPacket and getRouterRules by the API: who may ask what, and how an agent's answer looks."""

import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.wire.explaining import Explained, ExplainPacket, Fate, PathStep, RuleShown, RulesShown
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land

ASKED = {"source": "203.0.113.1", "destination": "203.0.113.10", "protocol": "tcp", "port": 80}


@pytest.fixture
async def router(land: Land) -> dict[str, Any]:
    """A running router."""
    network = await land.network()
    await land.implemented(network["id"])
    (row,) = await land.admin("listRouters", listall=True)
    return row


async def answered(land: Land, job: str, answer: msgspec.Struct) -> dict[str, Any]:
    """The job's result once the agent has said `answer`."""
    task = (await land.rows(sa.select(tables.task)))[-1]
    result = json.dumps(msgspec.to_builtins(answer))
    await land.stage.store.run(lambda tx: tx.update(tables.task, task.id, state="done", result=result))
    await land.serve(job)
    return (await land.admin("queryAsyncJobResult", jobid=job))["jobresult"]


async def test_a_packet_is_explained_by_the_routers_agent(land: Land, router: dict[str, Any]):
    accepted = await land.admin("explainPacket", id=router["id"], **ASKED)
    assert [("task", "done")] == await land.open_parts(accepted["jobid"])
    (task,) = await land.rows(sa.select(tables.task))
    asked = msgspec.json.decode(task.body, type=ExplainPacket)
    assert (task.kind, asked.protocol, asked.port, asked.destination) == ("explain", 6, 80, "203.0.113.10")
    step = PathStep(place="prerouting", words="lets it pass", effect="accept", table="inet sysvm", chain="firewall",
                    text="accept", rule="rule-1", kind="firewallrule")  # fmt: skip
    said = Explained(fate=Fate.ACCEPT, words="it passes", rule="rule-1", kind="firewallrule", source="203.0.113.1",
                     destination="10.1.1.5", port=8080, source_port=40000, arrives="eth2", leaves="eth0",
                     steps=(step,))  # fmt: skip
    found = (await answered(land, accepted["jobid"], said))["packetexplanation"]
    assert_row_matches_catalogue("explainPacket", found)
    assert {
        "routerid": router["id"], "routername": router["name"], "verdict": "ACCEPT", "explanation": "it passes",
        "ruleid": "rule-1", "ruletype": "firewallrule", "source": "203.0.113.1", "sourceport": 40000,
        "destination": "10.1.1.5", "port": 8080, "arrives": "eth2", "leaves": "eth0",
        "steps": [{
            "place": "prerouting", "effect": "accept", "table": "inet sysvm", "chain": "firewall",
            "explanation": "lets it pass", "rule": "accept", "ruleid": "rule-1", "ruletype": "firewallrule",
        }],
    } == found  # fmt: skip


async def test_a_network_is_asked_by_whoever_may_see_it(land: Land, router: dict[str, Any]):
    network = router["guestnetworkid"]
    assert "jobid" in await land.admin("explainPacket", networkid=network, **ASKED)
    stranger = await land.stage.user("stranger")
    with refusal(531):
        await stranger("explainPacket", networkid=network, **ASKED)
    with refusal(531):
        await stranger("explainPacket", id=router["id"], **ASKED)
    with refusal(432):
        await stranger("getRouterRules", id=router["id"])


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"protocol": "tpc"}, 431, "Invalid protocol tpc"),
        ({"protocol": "256"}, 431, "Invalid protocol 256"),
        ({"port": 65536}, 431, "Invalid port 65536"),
        ({"port": 0}, 431, "have a port"),
        ({"source": "web.example"}, 431, "Invalid source web.example"),
        ({"destination": "2001:db8::1"}, 431, "not of one family"),
        ({"protocol": "icmp", "icmptype": 256}, 431, "Invalid icmptype 256"),
        ({"networkid": "5b0f2f3c-0000-4000-8000-000000000000"}, 431, "either the id of a router or a networkid"),
    ],
)
async def test_what_is_no_packet_is_refused(land: Land, router: dict[str, Any], params: dict[str, Any], code: int, text: str):
    with refusal(code, text):
        await land.admin("explainPacket", **{"id": router["id"], **ASKED, **params})


async def test_a_stopped_router_has_no_live_rules(land: Land, router: dict[str, Any]):
    await land.set_machine(router["id"], wanted="stopped", power="stopped")
    with refusal(534, "must be Running"):
        await land.admin("explainPacket", id=router["id"], **ASKED)
    with refusal(534, "has no running router"):
        await land.admin("explainPacket", networkid=router["guestnetworkid"], **ASKED)
    with refusal(534, "must be Running"):
        await land.admin("getRouterRules", id=router["id"])


async def test_live_rules_are_rows(land: Land, router: dict[str, Any]):
    accepted = await land.admin("getRouterRules", id=router["id"])
    shown = RuleShown(table="inet sysvm", place="set open", text="203.0.113.10 . 6 . 80", rule="r", kind="firewallrule")
    found = (await answered(land, accepted["jobid"], RulesShown(rules=(shown,))))["routerrules"]
    assert_row_matches_catalogue("getRouterRules", found)
    row = {"table": "inet sysvm", "place": "set open", "rule": "203.0.113.10 . 6 . 80", "ruleid": "r",
           "ruletype": "firewallrule"}  # fmt: skip
    assert ([row], 0) == (found["rules"], found["omitted"])
