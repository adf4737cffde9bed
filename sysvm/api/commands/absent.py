"""Lists of things that this cloud has none of, which clients ask for all the same: the web interface with every page.

They are empty because nothing makes such a thing: no command gives a place to an account for itself, an icon to an
object, or roles of its own to a project.
"""

from sysvm.api.call import Call, Reply, Rows
from sysvm.api.handlers import handler


@handler("listDedicatedZones")
@handler("listDedicatedPods")
@handler("listDedicatedClusters")
@handler("listDedicatedHosts")
@handler("listResourceIcon")
@handler("listProjectRoles")
def list_nothing(_call: Call) -> Reply:
    """There are none."""
    return Rows([], 0)
