"""Tables for people, and the flat figures for summary.json; everything beside the bare handler of the same run."""

from . import peers
from .gateway import post, upload_body
from .load import median
from .machine import say


def answers(bare, made):
    """The lengths of the bare handler's answers, beside which the gateway's are read."""
    url = f"http://{bare.address}"
    return (
        len(post(f"{url}/request-upload", "none", upload_body(0), 201)),
        len(post(f"{url}/request-download", "none", {"objectId": made[0][1]}, 200)),
    )


def ratio(server, bare, kind, figure):
    return median(server, kind, figure) / median(bare, kind, figure)


def _table(heads):
    say("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))


def _row(*cells):
    say("| " + " | ".join(cells) + " |")


def whole(servers, kinds):
    bare = servers[0]
    _table(("request, connections", "server", "requests/s", "of bare", "p50 ms", "p99 ms", "of bare", "CPU µs a request",
            "of bare", "database's CPU µs", "RSS MiB"))
    for kind in kinds:
        for server in servers:
            helper = median(server, kind, "helper_us")
            _row(
                kind, server.name, f"{median(server, kind, 'rps'):,.0f}", f"{ratio(server, bare, kind, 'rps'):.2f}",
                f"{median(server, kind, 'p50_ms'):.2f}", f"{median(server, kind, 'p99_ms'):.2f}",
                f"{ratio(server, bare, kind, 'p99_ms'):.1f}", f"{median(server, kind, 'cpu_us'):.1f}",
                f"{ratio(server, bare, kind, 'cpu_us'):.2f}", f"{helper:.1f}" if helper else "",
                f"{median(server, kind, 'rss_mib'):.0f}",
            )


def rivals(servers, others, kind):
    if not others:
        return
    bare, ours = servers[0], servers[1]
    _table(("program, 64 connections, steady disk", "requests/s", "of bare", "p50 ms", "p99 ms", "CPU µs a request",
            "RSS MiB", "Vestibule on SQLite is"))
    for server in (ours, *others):
        name = peers.PEERS[server.name][0] if server in others else "Vestibule, SQLite"
        times = median(ours, kind, "rps") / median(server, kind, "rps")
        _row(
            name, f"{median(server, kind, 'rps'):,.0f}", f"{ratio(server, bare, kind, 'rps'):.4f}",
            f"{median(server, kind, 'p50_ms'):.1f}", f"{median(server, kind, 'p99_ms'):.1f}",
            f"{median(server, kind, 'cpu_us'):.0f}", f"{median(server, kind, 'rss_mib'):.0f}",
            f"{times:.0f} times faster" if server in others else "",
        )


def figures(servers, others, few, many):
    """The figures that the goals name, then all others."""
    bare, steady, real, postgres, postgres_real = servers
    up_few, up_many, down_few, down_many = f"upload {few}", f"upload {many}", f"download {few}", f"download {many}"
    found = {
        "bare_rps": round(median(bare, up_few, "rps")),
        "bare_cpu_us": round(median(bare, up_few, "cpu_us"), 1),
        "bare_rss_mib": round(median(bare, up_few, "rss_mib")),
        "sqlite_cpu_us": round(median(steady, up_few, "cpu_us"), 1),
        "sqlite_cpu_ratio": ratio(steady, bare, up_few, "cpu_us"),
        "sqlite_256_cpu_ratio": ratio(steady, bare, up_many, "cpu_us"),
        "sqlite_steady_64_rps": round(median(steady, up_few, "rps")),
        "sqlite_steady_64_rps_ratio": ratio(steady, bare, up_few, "rps"),
        "sqlite_steady_256_rps_ratio": ratio(steady, bare, up_many, "rps"),
        "sqlite_steady_64_p99_ratio": ratio(steady, bare, up_few, "p99_ms"),
        "sqlite_steady_256_p99_ratio": ratio(steady, bare, up_many, "p99_ms"),
        "sqlite_real_rps_ratio": ratio(real, bare, up_few, "rps"),
        "sqlite_real_256_rps_ratio": ratio(real, bare, up_many, "rps"),
        "sqlite_rss_mib": round(median(steady, up_many, "rss_mib")),
        "sqlite_download_cpu_ratio": ratio(steady, bare, down_few, "cpu_us"),
        "sqlite_download_steady_64_rps_ratio": ratio(steady, bare, down_few, "rps"),
        "sqlite_download_steady_256_rps_ratio": ratio(steady, bare, down_many, "rps"),
        "sqlite_download_real_rps_ratio": ratio(real, bare, down_few, "rps"),
        "postgres_cpu_us": round(median(postgres, up_few, "cpu_us"), 1),
        "postgres_cpu_ratio": ratio(postgres, bare, up_few, "cpu_us"),
        "postgres_rps_ratio": ratio(postgres, bare, up_few, "rps"),
        "postgres_256_rps_ratio": ratio(postgres, bare, up_many, "rps"),
        "postgres_p99_ratio": ratio(postgres, bare, up_few, "p99_ms"),
        "postgres_real_rps_ratio": ratio(postgres_real, bare, up_few, "rps"),
        "postgres_download_cpu_ratio": ratio(postgres, bare, down_few, "cpu_us"),
        "postgres_download_rps_ratio": ratio(postgres, bare, down_few, "rps"),
        "postgres_server_cpu_us": round(median(postgres, up_few, "helper_us"), 1),
        "postgres_rss_mib": round(median(postgres, up_many, "rss_mib")),
    }
    scripted = [median(server, up_few, "rps") for server in others if server.name in peers.SCRIPTED]
    if scripted:
        found["best_peer_multiple"] = round(found["sqlite_steady_64_rps"] / max(scripted), 1)
    for server in others:
        found[f"peer_{server.name}_rps"] = round(median(server, up_few, "rps"))
    return {key: round(value, 3) for key, value in found.items()}
