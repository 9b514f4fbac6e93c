"""The lines about policy: what a platform team changes while the gateway serves.

The files that are written here lie among the demo's own policies, and are gone when the lines have been told.
"""

import os
import signal
import subprocess
from pathlib import Path

from client import Unexpected
from steps import until

ROOT = Path(__file__).resolve().parent.parent

CLOSED = """@id("books-are-closed")
@message("No CSV is taken while the books are closed. Ask finance when they open.")
forbid (principal in App::"finance-invoices", action == Action::"upload", resource)
when { context.contentType == "text/csv" };
"""


class Policies:
    """The running gateway's policy directory."""

    def __init__(self, gateway, owner, binary):
        self.gateway, self.owner, self.binary = gateway, owner, binary
        directory = gateway.data / "policies"
        self.closed, self.broken = directory / "demo-closed.cedar", directory / "demo-broken.cedar"
        self.clear()

    def clear(self):
        for file in (self.closed, self.broken):
            file.unlink(missing_ok=True)

    def reload(self):
        self.gateway.process.send_signal(signal.SIGHUP)

    def ask(self):
        wanted = {"filename": "march.csv", "contentType": "text/csv", "size": 1000}
        return self.owner.post("/request-upload", wanted)

    def forbid(self):
        if self.ask().status != 201:
            raise Unexpected("CSV was refused before")
        self.closed.write_text(CLOSED, "utf-8")
        self.reload()
        answer = until(lambda: self.answered(403), "the policy to be in force")
        if answer.json()["code"] != "denied_by_policy":
            raise Unexpected(answer.why())
        return answer.why()

    def refuse_broken(self):
        self.broken.write_text('@id("slip") permit (principal, action, resource) when { context.sise < 1 };\n', "utf-8")
        before = self.gateway.log_text().count("policies not reloaded")
        self.reload()
        until(lambda: self.gateway.log_text().count("policies not reloaded") > before or None, "the refused reload")
        if self.ask().status != 403:
            raise Unexpected("the policy that was in force is not any more")
        self.clear()
        self.reload()
        until(lambda: self.answered(201), "the first set to be in force again")
        return "refused whole; the set in force stayed"

    def test(self):
        run = subprocess.run([self.binary, "policy", "test", str(ROOT / "policies")], capture_output=True, text=True)
        if run.returncode:
            raise Unexpected((run.stderr or run.stdout).strip().splitlines()[-1])
        return run.stdout.strip().splitlines()[-1]

    def answered(self, status):
        answer = self.ask()
        return answer if answer.status == status else None
