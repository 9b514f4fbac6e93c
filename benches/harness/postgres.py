"""A PostgreSQL of this run's own, through localstack/up: on the load's core, so that the gateway has its core alone.

On the steady disk its data lies in memory and it has the preloaded library too; `fsync` is on in both.
"""

import contextlib
import os
import pathlib
import subprocess
import sys

from . import machine
from .gateway import state


@contextlib.contextmanager
def server(disk):
    """Starts one on this disk; its URL and its process."""
    directory = disk.directory / "postgres"
    environment = {**os.environ, **disk.environment(), "VESTIBULE_STATE": str(directory)}

    def run(script):
        command = ["taskset", "-c", machine.LOAD_CORE, machine.ROOT / "localstack" / script, "postgres"]
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode

    try:
        if run("up"):
            sys.exit(f"error: PostgreSQL did not start; logs are in {directory}/logs")
        record = dict(line.split("=", 1) for line in pathlib.Path(directory, "run/postgres").read_text().splitlines())
        yield state(directory)["VESTIBULE_TEST_POSTGRES_URL"], int(record["pid"])
    finally:
        run("down")
