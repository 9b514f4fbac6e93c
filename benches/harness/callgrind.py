"""Instructions per request under valgrind's callgrind: a figure that a noisy machine does not move.

The gateway runs as it is, on a directory in memory, and counts only while the requests run: they come one after another
on one connection, so that every batch of the writer holds one. What ticks in the background counts too, a thousandth or
so. Start-up and the first requests, which fill caches and prepare statements, do not.
"""

import re
import subprocess
import sys

from . import client, gateway, machine

VALGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]


class Counted(gateway.Gateway):
    """A gateway under callgrind."""

    def __init__(self, binary, name, data, **more):
        self.counts = machine.OUT / f"{name.replace(' ', '-')}.callgrind"
        for old in machine.OUT.glob(f"{self.counts.name}*"):
            old.unlink()
        prefix = [*VALGRIND, f"--callgrind-out-file={self.counts}"]
        # A sweep or a look at the scanner in the middle would be another's cost.
        quiet = {"VESTIBULE__SWEEP__INTERVAL": "1h"}
        super().__init__(binary, name, data, prefix=prefix, environment=quiet, **more)
        self.dumps = 0

    def _control(self, *arguments):
        done = subprocess.run(["callgrind_control", *arguments, str(self.pid)], capture_output=True, text=True)
        if done.returncode or "OK" not in done.stdout:
            sys.exit(f"error: callgrind_control {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")

    def instructions(self, requests, count, warm=100):
        """Instructions for each of `count` requests, after `warm` others."""
        client.send(self, requests, warm)
        self._control("--instr=on")
        client.send(self, requests, warm // 10, start=warm)  # callgrind's own first look at the code
        self._control("--zero")
        client.send(self, requests, count, start=warm + warm // 10)
        self._control("--dump")
        self._control("--instr=off")
        self.dumps += 1
        dump = f"{self.counts}.{self.dumps}"
        with open(dump) as file:
            total = re.search(r"(?m)^(?:summary|totals): (\d+)", file.read())
        if not total:
            sys.exit(f"error: {dump} has no total")
        return int(total.group(1)) / count
