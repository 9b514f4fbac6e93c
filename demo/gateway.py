"""The gateway's process: `vestibule dev` on a directory, its log beside it, ended when we end.

Only the process that was started here is ever signalled. Its standard output, which holds the tokens, is read from a
pipe and never written to a file.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from client import Unexpected

START_SECONDS = 60
STOP_SECONDS = 15


class Gateway:
    """A running gateway; a context manager."""

    def __init__(self, binary, data):
        self.data = Path(data)
        self.log = self.data / "gateway.log"
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A second one would write over the log and the ports of the first before it found the storage locked.
        self.lock = open(self.data / "demo.lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unexpected(
                f"another demo runs in {self.data}: end that one with Ctrl-C, or set VESTIBULE_DEMO_DATA"
            ) from None
        environment = dict(os.environ)
        # Events alone must do it while the story is told; the sweep is the net below and would blur that.
        environment.setdefault("VESTIBULE__SWEEP__INTERVAL", "60s")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "dev", "--json", "--data", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours; we end the gateway in order
            )
        try:
            ready = self._first_line()
        except BaseException:
            self.stop()
            raise
        self.public, self.admin, self.storage = ready["public"], ready["admin"], ready["storage"]
        self.admin_token = ready["adminToken"]
        self.secrets = [ready["token"], ready["adminToken"]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _first_line(self):
        """The line that says that it is ready; where none comes, the end of the log says why."""
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        code = self.process.wait()
        last = self.log_text().strip().splitlines()[-5:]
        raise Unexpected("\n  ".join([f"the gateway did not start (exit code {code}); {self.log} says:", *last]))

    def log_text(self):
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def alerted(self, alert, object_id):
        """Whether the log holds this alert about this object."""
        return any(alert in line and object_id in line for line in self.log_text().splitlines())

    def shorten_downloads(self, app):
        """Sets an app's download URLs to the shortest life that there is, by editing its manifest and a reload."""
        manifest = self.data / "policies" / "apps" / f"{app}.toml"
        text = manifest.read_text("utf-8")
        short, changed = re.subn(
            r'(?m)^download_ttl = "2m"$',
            '# The demo waits until a download URL has expired; `make demo` shortened this from "2m".\n'
            'download_ttl = "60s"',
            text,
        )
        if changed:
            manifest.write_text(short, "utf-8")
            self.process.send_signal(signal.SIGHUP)

    def wait(self):
        """Until it ends by itself."""
        return self.process.wait()

    def stop(self):
        """SIGTERM, so that what is under way is finished; SIGKILL only where that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
