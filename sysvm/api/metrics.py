"""What Prometheus reads, at /metrics of the integration port: machines by kind and state, bytes of public addresses.

The format is Prometheus's text exposition 0.0.4. Values come from the database at each scrape; nothing is kept here.
"""

from collections.abc import Iterable

from sysvm.store.queries import usage
from sysvm.store.store import Store, Tx

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[dict[str, str], float]
MACHINES = "select kind, power, count(*) from machine where removed is null group by kind, power order by kind, power"


async def exposition(store: Store) -> bytes:
    """The whole page."""
    return await store.read(_page)


def _page(tx: Tx) -> bytes:
    machines = [({"kind": kind, "power": power}, float(count)) for kind, power, count in tx.sql(MACHINES)]
    totals = usage.totals(tx)
    sent = [({"network": network, "address": address}, float(out)) for network, address, out, _ in totals]
    received = [({"network": network, "address": address}, float(into)) for network, address, _, into in totals]
    lines = [
        *_family("sysvm_machines", "gauge", "Machines by kind and power.", machines),
        *_family("sysvm_public_address_sent_bytes_total", "counter", "Bytes sent from a public address.", sent),
        *_family("sysvm_public_address_received_bytes_total", "counter", "Bytes received by one.", received),
    ]
    return ("\n".join(lines) + "\n").encode()


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> list[str]:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value:.0f}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
