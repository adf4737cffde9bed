"""rules.apply_1000_ms, rules.apply_10000_ms: a whole document's rules made live in one atomic step, in a router namespace.

Ours is the router agent's own nftables service: rendering, the transaction, and reading back what was there before. The
peers put the same port forwards and their firewall rules in as plain rules, one after the other: `nft -f` and
`iptables-restore`. Everybody begins in a network namespace of his own, which is gone with his process.

    python -m bench.rules ours|nft|iptables COUNT    (inside the namespace: prints seconds and seconds of CPU)
"""

import contextlib
import functools
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.measure import alternating, children_cpu_s, median
from bench.rows import Row, row
from sysvm.agent.roles.router.nftables import Nftables
from sysvm.wire.documents import FirewallRule, Interface, PortForward, Ports, Protocol, RouterDocument, SourceNat

NAMES = ("rules.apply_1000_ms", "rules.apply_10000_ms")
NEEDS = ("root", "unshare", "nft")
PUBLIC = "203.0.113.10"


def run(*, tiny: bool) -> Iterator[Row]:
    """A row for each size."""
    for name, count in zip(NAMES, (5, 10) if tiny else (1000, 10000), strict=True):
        yield measured(name, count, 1 if tiny else 5 if count < 5000 else 3)


def measured(name: str, count: int, times: int) -> Row:
    """Medians of `times` turns of everybody."""
    spent: list[float] = []

    def own_turn() -> float:
        seconds, cpu = inside("ours", count)
        spent.append(cpu)
        return seconds

    peers = ["nft", *(["iptables"] if shutil.which("iptables-restore") else [])]
    turns = [functools.partial(lambda kind: inside(kind, count)[0], peer) for peer in peers]
    own, nft_s, *iptables_s = alternating(times, own_turn, *turns)
    note = f"{count} port forwards and {count} firewall rules, whole; {median(spent) * 1e3:.0f} ms of CPU"
    note += f"; iptables-restore of the same: {iptables_s[0] * 1e3:.0f} ms" if iptables_s else ""
    return row(name, own * 1e3, "ms", against=("nft -f of the same as plain rules", nft_s * 1e3), note=note)


def inside(kind: str, count: int) -> tuple[float, float]:
    """(seconds, seconds of CPU) that it took in a new network namespace."""
    command = ["unshare", "--net", sys.executable, "-m", "bench.rules", kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    seconds, cpu = done.stdout.split()[-2:]
    return float(seconds), float(cpu)


# ---------------------------------------------------------------- inside
def document(count: int) -> RouterDocument:
    """A router with `count` port forwards, each with its firewall rule."""
    return RouterDocument(
        machine="bench",
        name="r-1-VM",
        interfaces=(
            Interface(device="eth0", mac="02:00:00:00:00:01", role="guest", addresses=("10.1.0.1/16",)),
            Interface(device="eth2", mac="02:00:00:00:00:02", role="public", addresses=(f"{PUBLIC}/24",),
                      gateway="203.0.113.1"),
        ),
        source_nat=(SourceNat(device="eth2", public=PUBLIC, source="10.1.0.0/16"),),
        port_forwards=tuple(
            PortForward(rule=f"f{at}", public=PUBLIC, protocol=Protocol.TCP, ports=Ports(1024 + at, 1024 + at),
                        private=guest(at), private_ports=Ports(80, 80))
            for at in range(count)
        ),
        firewall=tuple(
            FirewallRule(rule=f"w{at}", public=PUBLIC, protocol=Protocol.TCP, sources=("0.0.0.0/0",),
                         ports=Ports(1024 + at, 1024 + at))
            for at in range(count)
        ),
    )  # fmt: skip


def guest(at: int) -> str:
    """The address of a guest."""
    return f"10.1.{1 + at // 250}.{1 + at % 250}"


def ours(count: int) -> None:
    """What the agent does with a document, as far as it is about rules."""
    service = Nftables()
    service.apply(service.render(document(count)))


def nft(count: int) -> None:
    """The same as plain rules."""
    forwards = "".join(f"ip daddr {PUBLIC} tcp dport {1024 + at} dnat ip to {guest(at)}:80\n" for at in range(count))
    accepts = "".join(
        f"meta l4proto tcp ct original ip daddr {PUBLIC} ct original proto-dst {1024 + at} accept\n" for at in range(count)
    )
    text = "table inet plain {\nchain into { type nat hook prerouting priority dstnat;\n" + forwards
    text += "}\nchain through { type filter hook forward priority 0; policy drop;\n" + accepts + "}\n}\n"
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def iptables(count: int) -> None:
    """The same for iptables-restore."""
    lines = ["*nat"]
    lines += [
        f"-A PREROUTING -d {PUBLIC} -p tcp --dport {1024 + at} -j DNAT --to-destination {guest(at)}:80" for at in range(count)
    ]
    lines += ["COMMIT", "*filter"]
    lines += [
        f"-A FORWARD -p tcp --dport 80 -m conntrack --ctorigdst {PUBLIC} --ctorigdstport {1024 + at} -j ACCEPT"
        for at in range(count)
    ]
    subprocess.run(["iptables-restore"], input="\n".join([*lines, "COMMIT", ""]), text=True, check=True)


def main(kind: str, count: int) -> None:
    """In the namespace. A first, small turn loads what is loaded once; a router's kernel has it."""
    work = {"ours": ours, "nft": nft, "iptables": iptables}[kind]
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent):
        work(1)
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        cpu, began = children_cpu_s() + time.process_time(), time.perf_counter()
        work(count)
        seconds, used = time.perf_counter() - began, children_cpu_s() + time.process_time() - cpu
    print(seconds, used)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    main(sys.argv[1], int(sys.argv[2]))
