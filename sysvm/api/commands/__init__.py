"""What the commands do, a module per noun. Importing this package imports them all, which registers their handlers."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
