"""The gateway's nodes: the real binary, in processes of their own, on ports that they keep.

All nodes of a run share the database, the bucket, the queue and the policies; nothing else connects them.
"""

import os
import signal
import time
from pathlib import Path

import wire
from processes import Process, free_port, ran, until

NODES = 3
# Bytes, objects. Clients ask for more of the second and third than there is.
QUOTAS = {"roomy": (1 << 30, 10_000), "tight": (300 << 10, 10_000), "few": (1 << 30, 9)}
REGION = "eu-central-1"


def write_policies(directory, bucket, endpoint):
    """A target and three apps that differ in their quotas."""
    (directory / "apps").mkdir(parents=True)
    (directory / "targets.toml").write_text(
        f'[store]\nprovider = "s3"\nbucket = "{bucket}"\nregion = "{REGION}"\nendpoint = "{endpoint}"\n'
        'path_style = true\nresidency = "eu"\nenvironment = "live"\ncredentials = "storage"\n'
    )
    (directory / "base.cedar").write_text('@id("within-the-manifests")\npermit (principal, action, resource);\n')
    (directory / "classifications.toml").write_text('[internal]\nresidency = ["eu"]\nscanner = "clamav"\n')
    # Rate limits are counted, and far above what the clients of a run ask for.
    (directory / "limits.toml").write_text(
        "same_request_per_minute = 1_000_000\n[workflow]\nsecond = 100_000\nhour = 10_000_000\nday = 100_000_000\n"
    )
    for app, (size, count) in QUOTAS.items():
        (directory / "apps" / f"{app}.toml").write_text(
            f'app = "{app}"\nowner = "chaos"\ntarget = "store"\nprefix = "{app}/"\n'
            'types = ["image/jpeg", "image/png", "application/pdf", "text/csv"]\nmax_size = "300 KiB"\n'
            'classifications = ["internal"]\nupload_ttl = "2m"\ndownload_ttl = "60s"\n'
            f'[quota]\nbytes = "{size >> 10} KiB"\nobjects = {count}\n'
        )  # fmt: skip


def limit_settings(redis, when_away, prefix):
    """Rate limits that the nodes share; each counts for itself where this is left out."""
    return f'[limits]\nurl = "redis://127.0.0.1:{redis}/0"\nwhen_away = "{when_away}"\nprefix = "{prefix}"\n'


def settings(policies, store, scanner, endpoint, queue, limits):
    """What every node's configuration says, but for its listeners."""
    events = ""
    if queue:
        events = (
            f'[[events.sqs]]\nqueue_url = "{queue}"\nregion = "{REGION}"\nendpoint = "{endpoint}"\n'
            'credentials = "storage"\nvisibility = "10s"\nwait = "2s"\nin_flight = 16\n'
        )
    return (
        f"[store]\n{store}\n"
        f'[policies]\ndir = "{policies}"\n'
        f'[scanner]\naddresses = ["tcp:127.0.0.1:{scanner}"]\nconnect_timeout = "1s"\ntimeout = "10s"\n'
        'timeout_per_mib = "1s"\nstall_timeout = "3s"\nconcurrency = 2\n'
        '[sweep]\ninterval = "1s"\nexpiry_grace = "1s"\n'
        '[telemetry]\nlog = "json"\n'
        f"{events}{limits}"
        '[credentials.storage]\naccess_key_id = "test"\nsecret_access_key = "test"\n'
    )


def store_settings(path=None, url=None):
    return f'path = "{path}"' if path else f'url = "{url}"'


def environment():
    """Ours, without settings that a shell may have left for another gateway."""
    others = ("VESTIBULE__", "VESTIBULE_FAULT")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def command(binary, config, *arguments):
    """Runs a subcommand to its end; what it printed."""
    return ran([binary, *arguments, "--config", config], environment()).strip()


class Clock:
    """A node's time of day, moved by libfaketime by the seconds in a file; its monotonic clock is left alone."""

    def __init__(self, library, path):
        self.library, self.path = library, Path(path)
        self.step(0)

    def step(self, seconds):
        made = self.path.with_suffix(".new")
        made.write_text(f"{seconds:+d}\n")
        made.rename(self.path)

    def environment(self):
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


class Node:
    """One node of a run."""

    def __init__(self, number, ports, binary, directory, common, balanced, clock=None):
        self.number, (self.port, self.admin_port), self.clock = number, ports, clock
        self.started, self.crashes = 0.0, []
        home = directory / f"node{number}"
        home.mkdir()
        config = home / "vestibule.toml"
        config.write_text(
            f'[public]\nlisten = "127.0.0.1:{self.port}"\n[admin]\nlisten = "127.0.0.1:{self.admin_port}"\n{common}'
        )
        variables = {**environment(), **(clock.environment() if clock else {}), "VESTIBULE__PUBLIC__URL": balanced}
        self.process = Process(
            f"node {number}", [binary, "serve", "--config", config], home / "gateway.log", environment=variables
        )

    @property
    def public(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts it, unless it runs or was started a moment ago: without its database it ends, and an operator's system
        waits before it tries again. Whether it was started now."""
        if self.process.runs() or time.monotonic() - self.started < 0.3:
            return False
        # 0: told to end; 1: could not start, and said why; SIGKILL: ours. Nothing else may end it.
        if self.process.child is not None and self.process.child.returncode not in (0, 1, -signal.SIGKILL):
            self.crashes.append(f"node {self.number} ended with {self.process.child.returncode}")
        self.started = time.monotonic()
        self.process.start()
        return True

    def broken(self):
        """What no fault explains: an end that nobody asked for, a panic in the log."""
        log = self.process.log.read_text("utf-8", "replace") if self.process.log.exists() else ""
        panics = [line for line in log.splitlines() if "panicked" in line]
        return self.crashes + [f"node {self.number}: {line[:300]}" for line in panics[:3]]

    def kill(self):
        self.process.kill()

    def terminate(self):
        self.process.signal(signal.SIGTERM)

    def is_ready(self):
        if self.start():
            return False
        answer = wire.send("GET", f"{self.public}/readyz", timeout=3)
        return answer is not None and answer.status == 200

    def ready(self, seconds=60):
        until(f"node {self.number}'s start", seconds, self.is_ready, 0.05)


def ports():
    """A public and an admin port for each node, kept for all runs."""
    return [(free_port(), free_port()) for _ in range(NODES)]
