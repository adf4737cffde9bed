"""What the lists of metrics add to the rows of the plain lists, in the units and words that a web interface shows. Pure."""

from typing import Any

GIB = 1 << 30


def of_place(cpu: tuple[int, int], memory: tuple[int, int]) -> dict[str, Any]:
    """Of a zone or a cluster: (total, promised) megahertz and bytes."""
    return {
        "cputotal": ghz(cpu[0]), "cpuallocated": percent(*cpu), "memorytotal": gib(memory[0]),
        "memoryallocated": percent(*memory),
    }  # fmt: skip


def of_host(row: dict[str, Any], running: int, total: int) -> dict[str, Any]:
    """Of a host's own row, with its machines."""
    if row.get("type") != "Routing":
        return {}
    mhz = int(row.get("cpunumber") or 0) * int(row.get("cpuspeed") or 0)
    return {
        "instances": f"{running}/{total}", "powerstate": "On" if row.get("state") == "Up" else "Unknown",
        "cputotalghz": ghz(mhz), "cpuallocatedghz": ghz(int(row.get("cpuallocatedvalue") or 0)),
        "memorytotalgb": gib(int(row.get("memorytotal") or 0)),
        "memoryallocatedgb": gib(int(row.get("memoryallocatedbytes") or 0)),
    }  # fmt: skip


def of_pool(row: dict[str, Any]) -> dict[str, Any]:
    """Of a pool's own row."""
    total, used = int(row.get("disksizetotal") or 0), int(row.get("disksizeused") or 0)
    promised = int(row.get("disksizeallocated") or 0)
    return {
        "disksizetotalgb": gib(total), "disksizeusedgb": gib(used), "disksizeallocatedgb": gib(promised),
        "disksizeunallocatedgb": gib(max(0, total - promised)),
    }  # fmt: skip


def of_volume(row: dict[str, Any]) -> dict[str, Any]:
    """Of a volume's own row; one whose size is not known yet has none."""
    return {"sizegb": gib(int(row["size"]))} if row.get("size") else {}


def ghz(mhz: int) -> str:
    """As CloudStack writes it."""
    return f"{mhz / 1000:.2f} Ghz"


def gib(size: int) -> str:
    """The same for bytes."""
    return f"{size / GIB:.2f} GB"


def percent(total: int, part: int) -> str:
    """A share of the whole; of nothing, none."""
    return f"{100 * part / total:.2f}%" if total else "0.00%"
