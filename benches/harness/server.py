"""A server under test: a process on the first core that says on its first line where it listens.

Those that are not measured are stopped (SIGSTOP), so that the sweeps and probes of one never run on another's time. Only
processes that were started here are ever signalled, by their ids.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from . import machine


class Server:
    """A running server. `rounds` holds what was measured of it, by the kind of load."""

    def __init__(self, name, command, environment=None, preload=None):
        self.name = name
        self.log = machine.OUT / f"{name.replace(' ', '-').replace(',', '')}.log"
        self.helper = None  # a database's process, whose time is counted apart
        self.rounds = {}
        # Only the server itself gets the preloaded library.
        loaded = [f"LD_PRELOAD={preload}"] if preload else []
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", machine.SERVER_CORE, "env", *loaded, *map(str, command)],
                env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True,
            )
        self.ready = next((line.strip() for line in self.process.stdout if line.startswith(("127.", "{"))), None)
        if not self.ready:
            self.stop()
            sys.exit(f"error: {name} did not start; see {self.log}")
        self.address = self.ready
        # Some go on talking; nobody may wait for a full pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    @property
    def pid(self):
        return self.process.pid

    def cpu(self):
        return machine.cpu([self.pid])

    def nanoseconds(self):
        return machine.nanoseconds(self.pid)

    def helper_cpu(self):
        return machine.cpu(machine.tree(self.helper)) if self.helper else 0

    def rss(self):
        return machine.rss([self.pid])

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        time.sleep(1)  # what fell due in the meantime is done first

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
