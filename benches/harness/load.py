"""wrk on the second core, and what it and /proc say about one stretch of load."""

import os
import pathlib
import re
import statistics
import subprocess
import sys

from . import machine

SCRIPT = machine.ROOT / "benches/load/requests.lua"
UNITS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}


class Requests:
    """Requests that wrk sends in turn, in a file."""

    def __init__(self, name, requests):
        self.path = pathlib.Path(machine.OUT, f"{name.replace(' ', '-').replace(',', '')}.requests")
        self.count = len(requests)
        # Tokens are in it.
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines("\t".join(request) + "\n" for request in requests)


def run(server, requests, seconds, connections, delay=0):
    """One stretch of load; exits where an answer was not 2xx."""
    before, helper_before = server.cpu(), server.helper_cpu()
    report = subprocess.run(
        ["taskset", "-c", machine.LOAD_CORE, "wrk", "--latency", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
         "--timeout", "20s", "-s", str(SCRIPT), f"http://{server.address}/"],
        env={**os.environ, "REQUESTS": str(requests.path), "DELAY": str(delay)},
        check=True, capture_output=True, text=True,
    ).stdout
    used, helper_used = server.cpu() - before, server.helper_cpu() - helper_before
    if "Non-2xx" in report or "Socket errors" in report:
        sys.exit(f"error: {server.name} did not answer every request; see {server.log}\n{report}")
    count = max(1, int(re.search(r"(\d+) requests in", report).group(1)))
    percentile = {p: re.search(rf"{p}%\s+([\d.]+)(us|ms|s|m)\s", report).groups() for p in ("50", "99")}
    return {
        "requests": count,
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", report).group(1)),
        "p50_ms": float(percentile["50"][0]) * UNITS[percentile["50"][1]],
        "p99_ms": float(percentile["99"][0]) * UNITS[percentile["99"][1]],
        "cpu_us": used / count * 1e6,
        "helper_us": helper_used / count * 1e6,
        "rss_mib": server.rss(),
    }


def median(server, kind, figure):
    return statistics.median(measured[figure] for measured in server.rounds[kind])
