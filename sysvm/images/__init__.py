"""The images that system VMs and demo guests run from: building, checking and listing them.

One Debian root serves both runtimes: containers use the directory as the lower layer of an overlay, VMs boot the same tree
as a squashfs with a kernel, a tiny initrd and a disk of kernel modules beside it. The agent is a second, thin layer of its
own, because it changes daily and the root monthly. What goes in is written in the folder `images/` of the project.

Nothing here starts a machine, and nothing is downloaded except from Debian's archive and, for the agent's wheels, PyPI.
"""

from sysvm.images.agentlayer import AgentLayer, agent_layer
from sysvm.images.check import Newer, Report, check
from sysvm.images.export import Export, export, install
from sysvm.images.guest import Guest, build_guest
from sysvm.images.manifest import Manifest, Package, Template
from sysvm.images.places import cache_folder
from sysvm.images.template import build, ensure, list_templates

__all__ = [
    "AgentLayer",
    "Export",
    "Guest",
    "Manifest",
    "Newer",
    "Package",
    "Report",
    "Template",
    "agent_layer",
    "build",
    "build_guest",
    "cache_folder",
    "check",
    "ensure",
    "export",
    "install",
    "list_templates",
]
