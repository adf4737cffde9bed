"""`assert_row_matches_catalogue("listRouters", row)`: only declared fields, each of its declared type."""

import re
from typing import Any

from sysvm.api import catalogue

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000")
WHOLE = {"short": 2**15, "integer": 2**31, "long": 2**63}


def assert_row_matches_catalogue(command: str, row: dict[str, Any]) -> None:
    """Fails with every fault of the row: unknown fields, wrong types, nulls."""
    faults = list(_faults(catalogue.commands()[command].shape, row, command))
    assert faults == [], "\n".join(faults)


def _faults(shape: str, row: dict[str, Any], path: str):
    fields = {field.name: field for field in catalogue.shapes()[shape]}
    for name, value in row.items():
        where = f"{path}.{name}"
        field = fields.get(name)
        if field is None:
            yield f"{where}: no such field in shape {shape}"
        elif value is None:
            yield f"{where}: null"
        else:
            yield from _value_faults(field, value, where)


def _value_faults(field: catalogue.Field, value: Any, where: str):
    if not _fits(field.type, value):
        yield f"{where}: {value!r} is no {field.type}"
    elif field.shape:
        for element in value if isinstance(value, list) else [value]:
            yield from _faults(field.shape, element, where)


def _fits(type_: str, value: Any) -> bool:
    if type_ == "string":
        return isinstance(value, str)
    if type_ == "boolean":
        return isinstance(value, bool)
    if type_ in WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < WHOLE[type_]
    if type_ == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if type_ == "date":
        return isinstance(value, str) and DATE.fullmatch(value) is not None
    if type_ == "list":
        return isinstance(value, list)
    return isinstance(value, dict)  # map, object
