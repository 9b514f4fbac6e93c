"""What the lines of the story have in common: uploads, waiting, looking at the audit trail, and the test files.

Every wait has a deadline, and every answer that is not the expected one raises `Unexpected` with what came instead.
"""

import json
import os
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from client import Client, Unexpected, put, send

PATIENCE = 60
FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def fixture(name):
    return (FIXTURES / name).read_bytes()


def eicar():
    """The EICAR test file, put together here so that no file of the project is one."""
    return b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE", b"!$H+H*"))


def large_csv(mebibytes):
    """The invoices over and over: large enough that its scan takes a while."""
    heading, rows = fixture("invoices.csv").split(b"\n", 1)
    return heading + b"\n" + rows * (mebibytes * 1024 * 1024 // len(rows))


def altered(body):
    """Other bytes of the same kind and length: one byte in the middle is different."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def seconds_from_epoch(rfc3339):
    return datetime.fromisoformat(re.sub(r"(\.\d+)?Z$", "+00:00", rfc3339)).timestamp()


def until(look, what):
    """What `look` returns, as soon as it is not None."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise Unexpected(f"{what} did not happen within {PATIENCE} s")


class Upload:
    """One upload under way: what was issued, and the bytes."""

    def __init__(self, owner, filename, content_type, body):
        self.owner, self.filename, self.body = owner, filename, body
        self.issued = owner.request_upload(filename, content_type, len(body))
        self.id = self.issued["objectId"]
        self.state = "issued"

    def send(self):
        """The PUT. Raises where the storage does not take it."""
        answer = put(self.issued, self.body)
        if answer.status != 200:
            raise Unexpected(f"PUT {answer.why()}")
        return self

    def noticed(self):
        """The state, once the gateway knows that the bytes are there."""
        state = self.owner.status(self.id)["state"]
        return None if state == "issued" else state

    def settle(self):
        """Waits until inspection has ended; the seconds that it took, and the object as the app sees it."""
        begun = time.monotonic()
        status = until(self._ended, f"the end of the inspection of {self.filename}")
        self.state = status["state"]
        return time.monotonic() - begun, status

    def _ended(self):
        status = self.owner.status(self.id)
        return None if status["state"] in ("issued", "uploaded", "scanning", "promoting") else status

    def settle_as(self, state):
        seconds, status = self.settle()
        if self.state != state:
            raise Unexpected(f"{self.state}: {status.get('detail', '')}")
        return seconds, status

    def download(self):
        """A new download URL, and the bytes behind it."""
        answer = self.owner.request_download(self.id)
        if answer.status != 200:
            raise Unexpected(f"request-download: {answer.why()}")
        issued = answer.json()
        got = send("GET", issued["downloadUrl"])
        if got.status != 200:
            raise Unexpected(f"GET {got.why()}")
        return issued, got.body


def drill(binary, admin, admin_token, rounds):
    """The drill's own figures: how long a revoked token goes on working."""
    environment = {**os.environ, "VESTIBULE_ADMIN_TOKEN": admin_token}
    command = [binary, "drill", "--admin", admin, "--rounds", str(rounds), "--json"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if told.returncode:
        raise Unexpected(told.stderr.strip())
    return json.loads(told.stdout)


class Operator(Client):
    """The admin listener."""

    def create_token(self, app):
        """A workflow's token for a week: the token, and what may be shown of it."""
        expires = (datetime.now(timezone.utc) + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = self.post("/admin/tokens", {"app": app, "workflow": "demo", "expiresAt": expires})
        if answer.status != 201:
            raise Unexpected(answer.why())
        created = answer.json()
        return created.pop("token"), created

    def noticed_by_event(self):
        """How many uploads an event has announced since the start."""
        return self._metric("vestibule_arrivals_total", 'source="event"')

    def actions_on(self, object_id):
        """The audit trail's actions on an object."""
        answer = self.get(f"/admin/audit?object={object_id}&limit=1000")
        return [entry["action"] for entry in answer.json()["entries"]]

    def _metric(self, name, label):
        text = self.get("/metrics").body.decode()
        found = re.search(rf"(?m)^{name}\{{[^}}]*{label}[^}}]*\}} (\d+)", text)
        return int(found[1]) if found else 0
