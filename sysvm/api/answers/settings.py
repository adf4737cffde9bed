"""Settings as answers show them. Hidden values are never shown."""

from typing import Any

from sysvm.store.settings import Setting

GLOBAL = "global"


def configuration(setting: Setting, stored: str | None, scope: str = "") -> dict[str, Any]:
    """A setting with the value that is set (or the default)."""
    answer: dict[str, Any] = {
        "category": setting.category,
        "group": setting.category,
        "subgroup": "Others",
        "name": setting.name,
        "description": setting.about,
        "displaytext": displayed(setting.name),
        "type": setting.type,
        "scope": scope or ",".join(setting.scopes) or GLOBAL,
        "isdynamic": setting.dynamic,
        "component": "sysvm",
    }
    if setting.options:
        answer["options"] = ",".join(setting.options)
    if not setting.hidden:
        value = stored if stored is not None else setting.default
        answer |= {name: text for name, text in (("value", value), ("defaultvalue", setting.default)) if text is not None}
    return answer


def displayed(name: str) -> str:
    """`router.stats.interval` -> `Router stats interval`."""
    words = name.replace(".", " ")
    return words[:1].upper() + words[1:]
