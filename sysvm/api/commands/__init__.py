"""What the commands do: a room per subject, in it a module per noun. Importing this package imports them all, which registers
their handlers."""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
