"""What each benchmark is to reach. A goal is a limit of the value, or of the ratio to the peer."""

from bench.rows import Row

# name: (text for the table, "value" or "ratio", limit); below it when lower is better, above it otherwise.
LIMITS: dict[str, tuple[str, str, float]] = {
    "server.start_s": ("< 2 s", "value", 2.0),
    "server.rss_mb": ("< 150 MB", "value", 150.0),
    "api.cpu_us_per_list": ("ratio < 2", "ratio", 2.0),
    "link.cpu_ms_per_host": ("< 3 ms", "value", 3.0),
    "link.memory_kb_per_host": ("< 50 KB", "value", 50.0),
    "router.serve_container_s": ("< 1 s", "value", 1.0),
    "router.serve_vm_s": ("< 8 s (emulated)", "value", 8.0),
    "rule.live_ms.p50_at_10": ("< 50 ms", "value", 50.0),
    "rule.live_ms.p95_at_10": ("< 100 ms", "value", 100.0),
    "rule.live_ms.p50_at_1000": ("< 50 ms", "value", 50.0),
    "rule.live_ms.p95_at_1000": ("< 100 ms", "value", 100.0),
    "rules.apply_1000_ms": ("< 200 ms", "value", 200.0),
    "rules.apply_10000_ms": ("< 2 s", "value", 2000.0),
    "router.boot_2000_hosts_s": ("< 2 s", "value", 2.0),
    "dhcp.changes_per_s": ("> 100/s", "value", 100.0),
    "nat.gbit_per_core": ("ratio > 0.95", "ratio", 0.95),
    "drift.repair_s": ("< 2 s", "value", 2.0),
    "router.rss_mb": ("< 64 MB", "value", 64.0),
    "lb.change_dropped": ("0 failed", "value", 1.0),
    "lb.req_per_s": ("ratio > 0.95", "ratio", 0.95),
    "router.replace_lost_pings": ("<= 1 at 10/s", "value", 1.5),
    "router.replace_streams_lost": ("0", "value", 0.5),
    "router.replace_vm_lost_pings": ("<= 1 at 10/s (KVM)", "value", 1.5),
    "router.replace_vm_streams_lost": ("0", "value", 0.5),
    "router.move_lost_pings": ("< 0.5 s", "value", 5.5),
    "router.move_streams_lost": ("0", "value", 0.5),
    "heal.router_s": ("< 2 s", "value", 2.0),
    "engine.turns_per_s.sqlite": ("> 1,000/s", "value", 1000.0),
    "engine.turns_per_s.postgresql": ("> 1,000/s", "value", 1000.0),
    "console.cpu_ms_per_mb.plain": ("ratio < 0.75", "ratio", 0.75),
    "console.cpu_ms_per_mb.tls": ("ratio < 0.75", "ratio", 0.75),
    "console.cpu_ms_per_mb.plain_haproxy": ("ratio <= 1.0", "ratio", 1.005),
    "console.cpu_ms_per_mb.tls_haproxy": ("ratio <= 1.0", "ratio", 1.005),
    "console.sessions_p99_ms": ("< 50 ms", "value", 50.0),
    "console.sessions_rss_mb": ("< 150 MB", "value", 150.0),
    "console.backpressure_mb": ("< 10 MB", "value", 10.0),
    "console.cert_swap_cut": ("0", "value", 0.5),
    "console.drain_cut": ("0", "value", 0.5),
    "console.resume_s": ("< 2 s", "value", 2.0),
    "console.open_ms": ("< 500 ms", "value", 500.0),
    "snapshot.incremental_s": ("< 2 s", "value", 2.0),
    "snapshot.incremental_bytes_ratio": ("< 1.2", "value", 1.2),
    "snapshot.pause_ms": ("< 100 ms", "value", 100.0),
    "download.vs_curl": ("ratio > 2", "ratio", 2.0),
    "download.vs_aria2c": ("ratio > 0.9", "ratio", 0.9),
    "download.resume_reread_bytes": ("< 1 chunk (16 MB)", "value", 16.0 * 2**20),
    "download.resume_s": ("< 5 s", "value", 5.0),
    "copy.bytes_ratio": ("< 0.2", "value", 0.2),
    "ssvm.scale": ("< 10 % from even", "value", 10.0),
    "guest.deploy_s": ("< 1 s", "value", 1.0),
    "sim.routers_per_s": ("> 500/s", "value", 500.0),
}
GOALS = {name: text for name, (text, _, _) in LIMITS.items()}


def met(row: Row) -> bool | None:
    """Whether the row reaches its goal; None where there is no goal, or no value."""
    if row.name not in LIMITS:
        return None
    _, of, limit = LIMITS[row.name]
    got = row.value if of == "value" else row.ratio
    if got is None:
        return None
    return got < limit if row.better == "lower" else got > limit
