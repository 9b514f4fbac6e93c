"""Processes and ports: whatever the suite starts, it ends, also when it is killed itself.

Every process is a session of its own, so that Ctrl-C reaches the suite alone, and the kernel kills it when the suite's
main thread ends (`setpriv --pdeathsig`); therefore only the main thread starts processes. Ports lie below the range
from which the kernel takes ports for clients: who connects to the port of a dead node must meet nobody, not itself.
"""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """The suite itself could not go on; this is no finding about the gateway."""


def free_port():
    chance = random.SystemRandom()
    for _ in range(200):
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port between 20000 and 32000")


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(what, seconds, look, pause=0.02):
    """What `look` returns as soon as that is true; raises where it does not come to it in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what} took longer than {seconds:g} s")
        time.sleep(pause)


def ran(argv, environment=None, user=None):
    """Runs a program to its end; its standard output."""
    done = subprocess.run(
        [*_as(user), *argv], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise Failed(f"{Path(argv[0]).name} {argv[1]}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def _as(user):
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []


class Process:
    """A program that may be killed, frozen and started again."""

    frozen = False

    def __init__(self, name, argv, log, environment=None, user=None):
        self.name, self.argv, self.log = name, argv, Path(log)
        self.environment, self.user = environment, user
        self.child = None

    def start(self):
        if self.runs():
            return self
        as_user = _as(self.user)[1:-1] if self.user else []
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *as_user, "--", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                cwd=self.log.parent,
            )
        return self

    @property
    def pid(self):
        return self.child.pid

    def runs(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        if self.runs():
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds):
        if self.child is not None:
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                raise Failed(f"{self.name} (pid {self.pid}) did not end within {seconds} s") from None

    def freeze(self):
        self.frozen = True
        for pid in self.family():
            send(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in reversed(self.family()):
            send(pid, signal.SIGCONT)
        self.frozen = False

    def family(self):
        """The process and its children. Children may have sessions of their own, as PostgreSQL's have."""
        if not self.runs():
            return []
        found = [self.pid]
        for pid in found:
            try:
                tasks = Path(f"/proc/{pid}/task").iterdir()
                found.extend(int(child) for task in tasks for child in (task / "children").read_text().split())
            except OSError:
                continue
        return found

    def last_lines(self, count=12):
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-count:])


def send(pid, number):
    """A signal to a process of ours that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
