"""A clamd of a benchmark's own, with the settings of `localstack/` and signatures of which nothing here is one.

Only this process is ever signalled; the machine's clamd and that of `localstack/` are left alone.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

from . import machine
from .turns import stop, until


class Clamd:
    """A running one, in the directory `home`, on these cores."""

    def __init__(self, home, cores):
        home.mkdir(parents=True)
        (home / "db").mkdir()
        (home / "db/bench.hsb").write_text(f"{'0' * 63}1:68:Bench.None:73\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.socket, self.config = home / "sock", home / "clamd.conf"
        text = (machine.ROOT / "localstack/clamd/clamd.conf.in").read_text()
        for word, value in (("PORT", port), ("SOCKET", self.socket), ("DATABASE", home / "db"), ("TEMPORARY", home)):
            text = text.replace(f"@{word}@", str(value))
        self.config.write_text(text)
        program = shutil.which("clamd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        if not program:
            sys.exit("error: clamd is not installed: run 'localstack/up clamd'")
        guard = pathlib.Path("/sys/module/apparmor/parameters/enabled")
        if guard.exists() and guard.read_text().strip() == "Y":
            # Debian's profile goes by path, and keeps clamd out of other directories.
            program = shutil.copy(program, home / "clamd")
        log = open(home / "log", "w")
        pinned = ["taskset", "-c", ",".join(map(str, cores)), program, f"--config-file={self.config}"]
        self.process = subprocess.Popen(pinned, stdout=log, stderr=log)
        until(lambda: self.ask(b"zPING\0") == b"PONG\0", "clamd answers", 30)

    def ask(self, command, body=b""):
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(self.socket))
                line.sendall(command + body)
                answer = b""
                while part := line.recv(4096):
                    answer += part
                return answer
        except OSError:
            return b""

    def scan(self, data):
        """One scan, alone; seconds."""
        begun = time.perf_counter()
        answer = self.ask(b"zINSTREAM\0", len(data).to_bytes(4, "big") + data + bytes(4))
        assert answer == b"stream: OK\0", answer
        return time.perf_counter() - begun

    def scan_all(self, files):
        """All of them as fast as clamd goes; seconds."""
        names = self.config.parent / "names"
        names.write_text("".join(f"{file}\n" for file in files))
        begun = time.perf_counter()
        done = subprocess.run(
            ["clamdscan", f"--config-file={self.config}", "--stream", "--multiscan", "--infected", f"--file-list={names}"],
            capture_output=True, text=True,
        )
        seconds = time.perf_counter() - begun
        if done.returncode or "Infected files: 0" not in done.stdout:
            sys.exit(f"error: clamdscan: {done.stdout}{done.stderr}")
        return seconds

    def stop(self):
        stop(self.process)
