"""Instructions per request under valgrind's callgrind: a figure that a noisy machine does not move.

The gateway runs as it is, on a directory in memory, and counts only while the requests run: they come one after another
on one connection, so that every batch of the writer holds one. Start-up and the first requests, which fill caches and
prepare statements, do not count, and what ticks in the background is subtracted: it is counted beside, while nobody asks.
"""

import re
import subprocess
import sys
import time

from . import client, gateway, machine

VALGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
# Requests for callgrind's own first look at the code.
FIRST = 25
# Seconds in which nobody asks: a few of the probe's turns.
IDLE = 8


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

    def _counted(self, act):
        """The instructions while `act` runs, and how long that took."""
        self._control("--zero")
        began = time.monotonic()
        act()
        took = time.monotonic() - began
        self._control("--dump")
        self.dumps += 1
        dump = f"{self.counts}.{self.dumps}"
        with open(dump) as file:
            total = re.search(r"(?m)^(?:summary|totals): (\d+)", file.read())
        if not total:
            sys.exit(f"error: {dump} has no total")
        return int(total.group(1)), took

    def instructions(self, requests, count, warm=100):
        """Instructions for each of `count` requests, after `warm` others."""
        client.send(self, requests, warm)
        self._control("--instr=on")
        client.send(self, requests, FIRST, start=warm)
        idle, idle_took = self._counted(lambda: time.sleep(IDLE))
        busy, took = self._counted(lambda: client.send(self, requests, count, start=warm + FIRST))
        self._control("--instr=off")
        return (busy - idle * took / idle_took) / count
