"""Stickiness and health checks: one of each for a rule, with parameters that HAProxy takes."""

from typing import Any

import pytest

from sysvm.wire.balancing import HealthCheck, Stickiness, StickyBy
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_balancing.conftest import Scene
from tests.api_balancing.test_rules import facts


def params(**given: str) -> dict[str, str]:
    """A map as CloudStack's own client sends it."""
    found = {}
    for at, (name, value) in enumerate(given.items()):
        found |= {f"param__{at}__name": name.replace("_", "-"), f"param__{at}__value": value}
    return found


# ---------------------------------------------------------------- stickiness
async def test_a_rule_becomes_sticky_and_is_free_again(scene: Scene):
    land, rule = scene.land, await scene.rule()
    accepted = await land.admin(
        "createLBStickinessPolicy", lbruleid=rule["id"], name="stay", methodname="lbcookie", description="so",
        **params(cookie_name="me", nocache="true", mode="insert"),
    )  # fmt: skip
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    (row,) = await land.admin("listLBStickinessPolicies", lbruleid=rule["id"])
    assert_row_matches_catalogue("listLBStickinessPolicies", row)
    (policy,) = row["stickinesspolicy"]
    assert (accepted["id"], "LbCookie", "Active", {"cookie-name": "me", "mode": "insert", "nocache": "true"}) == tuple(
        policy[name] for name in ("id", "methodname", "state", "params")
    )
    found = await facts(scene)
    assert found is not None
    assert Stickiness(method=StickyBy.LB_COOKIE, params=policy["params"]) == found.rules[0].stickiness
    with refusal(431, "Already two policies attached"):
        await land.admin("createLBStickinessPolicy", lbruleid=rule["id"], name="more", methodname="SourceBased")
    await land.job("updateLBStickinessPolicy", id=accepted["id"], fordisplay=False)
    (row,) = await land.admin("listLBStickinessPolicies", id=accepted["id"])
    assert row["stickinesspolicy"][0]["fordisplay"] is False
    gone = await land.admin("deleteLBStickinessPolicy", id=accepted["id"])
    await land.serve(gone["jobid"])
    (row,) = await land.admin("listLBStickinessPolicies", lbruleid=rule["id"])
    assert [] == row["stickinesspolicy"]
    found = await facts(scene)
    assert found is not None and found.rules[0].stickiness is None


@pytest.mark.parametrize(
    ("method", "given", "kept"),
    [
        ("SourceBased", {}, {}),
        ("SourceBased", {"tablesize": "500k", "expire": "1h"}, {"tablesize": "500k", "expire": "1h"}),
        ("AppCookie", {"cookie_name": "SID", "length": "20", "holdtime": "3h", "request_learn": "", "prefix": "no"},
         {"cookie-name": "SID", "length": "20", "holdtime": "3h", "request-learn": "true"}),
        ("LbCookie", {"domain": ".example.org", "indirect": "TRUE"}, {"domain": ".example.org", "indirect": "true"}),
    ],
)  # fmt: skip
async def test_parameters_are_kept_in_one_form(scene: Scene, method: str, given: dict[str, str], kept: dict[str, str]):
    rule = await scene.rule()
    made = await scene.land.job(
        "createLBStickinessPolicy", lbruleid=rule["id"], name="stay", methodname=method, **params(**given)
    )
    assert kept == made["stickinesspolicy"][0]["params"]


@pytest.mark.parametrize(
    ("method", "given", "text"),
    [
        ("Sticky", {}, "Failed to match Stickiness method name for LB rule"),
        ("SourceBased", {"cookie_name": "x"}, "has no parameter cookie-name"),
        ("SourceBased", {"tablesize": "many"}, "tablesize is not in size format"),
        ("SourceBased", {"tablesize": "200g"}, "tablesize is not in size format, or beyond"),
        ("SourceBased", {"tablesize": "0"}, "tablesize"),
        ("SourceBased", {"expire": "1y"}, "expire is not in timeformat"),
        ("SourceBased", {"expire": "31d"}, "not from 1s to 30d"),
        ("SourceBased", {"expire": "30"}, "not from 1s to 30d"),
        ("AppCookie", {"length": "long"}, "length is not a number"),
        ("AppCookie", {"length": "256"}, "length is not a number from 1 to 255"),
        ("AppCookie", {"holdtime": "3 hours"}, "holdtime is not in timeformat"),
        ("AppCookie", {"mode": "insert"}, "mode is none of path-parameters, query-string"),
        ("LbCookie", {"mode": "query-string"}, "mode is none of insert, rewrite, prefix"),
        ("LbCookie", {"cookie_name": "a b"}, "characters that a cookie cannot have"),
        ("LbCookie", {"domain": "x;y"}, "characters that a cookie cannot have"),
    ],
)
async def test_stickiness_that_cannot_be_is_refused(scene: Scene, method: str, given: dict[str, str], text: str):
    rule = await scene.rule()
    with refusal(431, text):
        await scene.land.admin("createLBStickinessPolicy", lbruleid=rule["id"], name="stay", methodname=method, **params(**given))
    (row,) = await scene.land.admin("listLBStickinessPolicies", lbruleid=rule["id"])
    assert [] == row["stickinesspolicy"]


# ---------------------------------------------------------------- health checks
async def test_members_are_asked_for_a_path(scene: Scene):
    land, rule = scene.land, await scene.rule()
    made = await land.job("createLBHealthCheckPolicy", lbruleid=rule["id"])
    assert_row_matches_catalogue("createLBHealthCheckPolicy", made)
    (policy,) = made["healthcheckpolicy"]
    names = (
        "pingpath",
        "responsetime",
        "healthcheckinterval",
        "healthcheckthresshold",
        "unhealthcheckthresshold",
        "state",
    )
    assert ("/", 2, 5, 2, 1, "Active") == tuple(policy[name] for name in names)
    with refusal(431, "Already policy attached"):
        await land.admin("createLBHealthCheckPolicy", lbruleid=rule["id"])
    await land.job("updateLBHealthCheckPolicy", id=policy["id"], fordisplay=False)
    gone = await land.admin("deleteLBHealthCheckPolicy", id=policy["id"])
    await land.serve(gone["jobid"])
    accepted = await land.admin(
        "createLBHealthCheckPolicy", lbruleid=rule["id"], pingpath="/health?deep=1", responsetimeout=3, intervaltime=7,
        healthythreshold=4, unhealthythreshold=5, description="deep",
    )  # fmt: skip
    found = await facts(scene)
    assert found is not None
    assert HealthCheck(path="/health?deep=1", response_s=3, interval_s=7, healthy=4, unhealthy=5) == found.rules[0].health_check
    (row,) = await land.admin("listLBHealthCheckPolicies", id=accepted["id"])
    assert ("deep", rule["id"]) == (row["healthcheckpolicy"][0]["description"], row["lbruleid"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"pingpath": "health"}, "pingpath is a path"),
        ({"pingpath": "/a b"}, "pingpath is a path"),
        ({"responsetimeout": 0}, "responsetimeout is from 1 to 3600"),
        ({"intervaltime": 3601}, "intervaltime is from 1 to 3600"),
        ({"healthythreshold": -1}, "healthythreshold is from 1 to 100"),
        ({"unhealthythreshold": 101}, "unhealthythreshold is from 1 to 100"),
    ],
)
async def test_a_health_check_that_cannot_be_is_refused(scene: Scene, given: dict[str, Any], text: str):
    rule = await scene.rule()
    with refusal(431, text):
        await scene.land.admin("createLBHealthCheckPolicy", lbruleid=rule["id"], **given)


async def test_policies_end_with_their_rule(scene: Scene):
    land, rule = scene.land, await scene.rule()
    made = await land.job("createLBHealthCheckPolicy", lbruleid=rule["id"])
    await land.job("deleteLoadBalancerRule", id=rule["id"])
    assert [] == await land.admin("listLBHealthCheckPolicies", id=made["healthcheckpolicy"][0]["id"])
    with refusal(431, "is no more"):
        await land.admin("deleteLBHealthCheckPolicy", id=made["healthcheckpolicy"][0]["id"])
    with refusal(431, "Either lbruleid or id"):
        await land.admin("listLBHealthCheckPolicies")
