"""The parts of a request: cargo's benches of minting, deciding and committing, and their figures."""

import re
import subprocess
import sys

from . import machine
from .machine import say

UNITS = {"ps": 1e-6, "ns": 1e-3, "µs": 1, "us": 1, "ms": 1e3}


def _criterion_us(report, name):
    """The middle of criterion's estimate for a benchmark, in µs."""
    found = re.search(rf"(?m)^{re.escape(name)}\s+time:\s+\[[\d.]+ \S+ ([\d.]+) (\S+) ", report)
    if not found:
        sys.exit(f"error: no figure for '{name}'; see {machine.OUT / 'parts.txt'}")
    return round(float(found.group(1)) * UNITS[found.group(2)], 3)


def measure(quick):
    report = ""
    for bench in ("mint", "mint_sas", "decide", "commit"):
        command = ["cargo", "bench", "--locked", "--bench", bench]
        if quick:
            command += ["--", "1"] if bench == "commit" else ["--", "--warm-up-time", "0.5", "--measurement-time", "1"]
        say(" ".join(command))
        done = subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: cargo bench --bench {bench} failed:\n{done.stdout}{done.stderr}")
        report += done.stdout
    # Criterion breaks the line after a long name.
    report = re.sub(r"\n\s+time:", " time:", report)
    (machine.OUT / "parts.txt").write_text(report)
    figures = {
        "mint_s3_us": _criterion_us(report, "s3/put"),
        "mint_sas_us": _criterion_us(report, "sas/service upload"),
        "mint_s3_vs_aws_sigv4": float(re.search(r"s3 put: .*ratio ([\d.]+)", report).group(1)),
        "decision_us_10_apps": _criterion_us(report, "decide_upload/10 apps"),
        "decision_us_1000_apps": _criterion_us(report, "decide_upload/1000 apps"),
        "decision_us_1_app_evaluated": _criterion_us(report, "decide_upload/1 apps, evaluated"),
        "decision_us_1000_apps_evaluated": _criterion_us(report, "decide_upload/1000 apps, evaluated"),
    }
    say("\n| part | figure | goal |\n|---|---|---|")
    say(f"| sign an S3 URL | {figures['mint_s3_us']} µs | 2 µs |")
    say(f"| the same beside aws-sigv4 | {figures['mint_s3_vs_aws_sigv4']} times faster | 8 times |")
    say(f"| sign an Azure SAS | {figures['mint_sas_us']} µs | 1.5 µs |")
    say(f"| decide about an upload, 10 apps | {figures['decision_us_10_apps']} µs | 2 µs |")
    say(f"| decide about an upload, 1,000 apps | {figures['decision_us_1000_apps']} µs | the same |")
    say(f"| the same, 1 app, its 10 Cedar policies evaluated | {figures['decision_us_1_app_evaluated']} µs | 15 µs |")
    say(f"| the same, 1,000 apps with 10 policies each | {figures['decision_us_1000_apps_evaluated']} µs | the same |")
    for line in re.findall(r"(?m)^(?:sqlite|postgres|fdatasync).*$", report):
        say(line)
    return figures
