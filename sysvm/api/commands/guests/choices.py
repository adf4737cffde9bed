"""What the web interface offers to choose from: details of guests, planners."""

from sysvm.api.call import Call, One, Reply
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.api.rules.guests import KEYBOARD, KEYBOARDS

PLANNER = "FirstFitPlanner"  # the least loaded host that has room: see systemvms/machine.py
OPTIONS = {"uservm": {KEYBOARD: sorted(KEYBOARDS)}}


@handler("listDetailOptions")
def list_detail_options(call: Call) -> Reply:
    """Details that mean something here, and what each can be."""
    return One({"details": OPTIONS.get(call["resourcetype"].lower(), {})})


@handler("listDeploymentPlanners")
def list_deployment_planners(call: Call) -> Reply:
    """How hosts are chosen; there is one way."""
    return slice_rows(call, [{"name": PLANNER}])
