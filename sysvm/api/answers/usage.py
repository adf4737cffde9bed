"""Usage records as the API shows them. Pure."""

from typing import Any

from sysvm.api.answers.times import stamp
from sysvm.store.queries.usage import WORDS
from sysvm.store.store import Row

# CloudStack's numbers and words of what it meters; which of them have records here is said in docs/differences.md.
TYPES = {
    1: "Running Vm Usage", 2: "Allocated Vm Usage", 3: "IP Address Usage", 4: "Network Usage (Bytes Sent)",
    5: "Network Usage (Bytes Received)", 6: "Volume Usage", 7: "Template Usage", 8: "ISO Usage", 9: "Snapshot Usage",
    10: "Security Group Usage", 11: "Load Balancer Usage", 12: "Port Forwarding Usage", 13: "Network Offering Usage",
    14: "VPN users usage",
}  # fmt: skip


def usage_type(number: int) -> dict[str, Any]:
    """One of the types."""
    return {"usagetypeid": number, "description": TYPES[number]}


def record(row: Row, names: dict[str, Any]) -> dict[str, Any]:
    """Bytes through one public address in one period. `names`: account, domain and zone of the row."""
    details = row.details or {}
    return {
        **names,
        "description": f"{WORDS[row.usage_type]} bytes of {row.description}",
        "usagetype": row.usage_type,
        "usageid": row.resource_uuid,
        "rawusage": str(row.amount),
        "usage": f"{row.amount} bytes {WORDS[row.usage_type]}",
        "networkid": details.get("network"),
        "issourcenat": details.get("sourcenat"),
        "startdate": stamp(row.began),
        "enddate": stamp(row.ended),
    }
