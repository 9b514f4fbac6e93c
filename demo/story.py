"""The main job, told line by line: what was tried, what should happen, what happened.

Every line is true or it is marked: nothing is printed that was not looked up, and no step depends on being fast.
`demo/run` builds what this needs; see there for the settings. The exit code is 0 only if every line went as it should.
"""

import http.client
import os
import signal
import sys
import time
from pathlib import Path

import paste
from client import Client, Unexpected, put, send
from gateway import Gateway
from policies import Policies
from screen import Screen
from steps import Operator, Upload, altered, drill, eicar, fixture, large_csv, seconds_from_epoch, until

ROOT = Path(__file__).resolve().parent.parent


class Story:
    def __init__(self, screen, gateway, binary):
        self.screen, self.gateway, self.binary = screen, gateway, binary
        self.operator = Operator(gateway.admin, gateway.admin_token)
        self.apps, self.uploads = {}, {}
        self.short_lived = None

    def tell(self):
        line = self.line
        for app in ("where2eat", "finance-invoices"):
            line(f"create a token for {app}", "201, shown once", self.token, app)
        for app, name, kind in (
            ("where2eat", "menu.jpg", "image/jpeg"),
            ("finance-invoices", "invoice.pdf", "application/pdf"),
            ("finance-invoices", "invoices.csv", "text/csv"),
        ):
            size = f"{len(fixture(name)):,} bytes"
            line(f"upload {name} ({size})", "event, clean scan, visible", self.upload, app, name, kind)
            line(f"download {name}", "the same bytes", self.download, name)
            if app == "where2eat":
                self.gateway.shorten_downloads("finance-invoices")
        line("download before the upload", "refused, with the reason", self.download_before_upload)
        line("download before the scan has ended", "refused, with the reason", self.download_before_scan)
        line("upload an EICAR test virus as CSV", "quarantined, not served", self.infected)
        line("a second PUT to that same URL", "refused by the storage", self.second_put)
        line("upload HTML called menu.png", "rejected, not served", self.disguised)
        line("PUT a body longer than declared", "refused by the storage", self.too_long)
        line("late PUT to menu.jpg's used URL", "bytes deleted, alert", self.stray)
        line("download menu.jpg once more", "still the same bytes", self.download, "menu.jpg")
        self.tidy()
        line("GET the PDF's URL after it expired", "refused by the storage", self.expired)
        policies = Policies(self.gateway, self.apps.get("finance-invoices"), self.binary)
        line("forbid CSV by a Cedar rule, reload", "refused, with its message", policies.forbid)
        line("a policy with a slip in it, reload", "refused whole, nothing changes", policies.refuse_broken)
        line("run the example policies' own tests", "every case as expected", policies.test)
        line("revoke a token that is in use", "dead within a second", self.drill)
        line("search log, audit, database, config", "no token, no signed URL", self.secrets)

    def line(self, tried, should, act, *arguments):
        """One line. What goes wrong is told on it, and the story goes on."""
        self.screen.begin(tried, should)
        try:
            ok, happened = True, act(*arguments)
        except (Unexpected, OSError, http.client.HTTPException, ValueError) as error:
            ok, happened = False, f"{error}" or type(error).__name__
        except KeyError as error:
            ok, happened = False, f"not possible: there is no {error} from an earlier line"
        self.screen.row(ok, tried, should, happened)

    def token(self, app):
        token, shown = self.operator.create_token(app)
        self.gateway.secrets.append(token)
        self.apps[app] = Client(self.gateway.public, token)
        return f"201, id {shown['tokenId']}, owner {shown['owner']}"

    def upload(self, app, name, kind):
        before = self.operator.noticed_by_event()
        upload = Upload(self.apps[app], name, kind, fixture(name)).send()
        seconds, status = upload.settle_as("visible")
        if self.operator.noticed_by_event() <= before:
            raise Unexpected("visible, but no event announced it")
        self.uploads[name] = upload
        return f"PUT 200, event, {status['verdict']['result']}, visible in {seconds:.1f} s"

    def download(self, name):
        upload = self.uploads[name]
        issued, body = upload.download()
        if name == "invoice.pdf":
            issued, body = self.short(upload)
        if body != upload.body:
            raise Unexpected(f"other bytes: {len(body):,} instead of {len(upload.body):,}")
        return f"200, byte for byte, SHA-256 {issued['sha256'][:8]}..."

    def short(self, upload):
        """A download URL of the shortest life; the manifest that says so is being reloaded."""
        deadline = time.monotonic() + 5
        while True:
            issued, body = upload.download()
            if seconds_from_epoch(issued["expiresAt"]) - time.time() <= 61 or time.monotonic() > deadline:
                self.short_lived = issued
                return issued, body
            time.sleep(0.1)

    def download_before_upload(self):
        owner = self.apps["where2eat"]
        issued = owner.request_upload("never-sent.jpg", "image/jpeg", 1000)
        return refused(owner.request_download(issued["objectId"]), 409)

    def download_before_scan(self):
        for mebibytes in (12, 48):
            upload = Upload(self.apps["finance-invoices"], "year.csv", "text/csv", large_csv(mebibytes)).send()
            self.uploads["year.csv", mebibytes] = upload
            # From the PUT's answer to the event there is a moment in which the gateway knows of no bytes.
            until(upload.noticed, "the notice of the upload")
            answer = upload.owner.request_download(upload.id)
            if answer.status != 200:
                return refused(answer, 409)
        raise Unexpected("the scan ended before the download could be asked for")

    def infected(self):
        upload = self.uploads["eicar"] = Upload(self.apps["finance-invoices"], "export.csv", "text/csv", eicar()).send()
        _, status = upload.settle_as("quarantined")
        download = upload.owner.request_download(upload.id)
        refused(download, 409)
        return f"quarantined ({status['verdict']['signature']}), download {download.status} {download.json()['code']}"

    def second_put(self):
        upload = self.uploads["eicar"]
        return refused(put(upload.issued, altered(upload.body)), 412).split(":")[0]

    def disguised(self):
        upload = Upload(self.apps["where2eat"], "menu.png", "image/png", fixture("page.html")).send()
        _, status = upload.settle_as("rejected")
        refused(upload.owner.request_download(upload.id), 410)
        return f"rejected: {status['detail']}"

    def too_long(self):
        owner, body = self.apps["where2eat"], fixture("menu.jpg")
        issued = owner.request_upload("menu.jpg", "image/jpeg", len(body))
        longer = body + b"x" * 1000
        told = refused(put(issued, longer, content_length=str(len(longer))), 403)
        state = owner.status(issued["objectId"])["state"]
        if state != "issued":
            raise Unexpected(f"refused, but the object is {state}")
        return f"{told.split(':')[0]}, nothing stored"

    def stray(self):
        upload = self.uploads["menu.jpg"]
        # Until the scanned copy has left the staging area the storage refuses with 412.
        answer = until(lambda: gone(put(upload.issued, altered(upload.body))), "the removal of the staged copy")
        if answer.status != 200:
            raise Unexpected(f"PUT {answer.why()}")
        until(lambda: "removeStray" in self.operator.actions_on(upload.id) or None, "the removal of the stray bytes")
        until(lambda: self.gateway.alerted("stray_removed", upload.id) or None, "the alert in the log")
        return "PUT 200, deleted; alert in log and audit"

    def expired(self):
        if self.short_lived is None:
            raise Unexpected("not possible: there is no URL from an earlier line")
        # Providers count whole seconds, so that a URL may work to the end of its last one.
        end = seconds_from_epoch(self.short_lived["expiresAt"]) + 2
        self.screen.countdown(end, "the PDF's download URL worked above; {} s until it has expired")
        return refused(send("GET", self.short_lived["downloadUrl"]), 403)

    def drill(self):
        figures = drill(self.binary, self.gateway.admin, self.gateway.admin_token, 5)
        if figures["p99_ms"] > 1000:
            raise Unexpected(f"{figures['p99_ms']} ms")
        return f"p50 {figures['p50_ms']:.0f} ms, p99 {figures['p99_ms']:.0f} ms on {figures['nodes']} node"

    def secrets(self):
        wanted = [secret.encode() for secret in self.gateway.secrets] + [b"X-Amz-Signature="]
        # Below storage/ are the users' bytes and the store's own keys, as in any S3-compatible store.
        data, storage = self.gateway.data, self.gateway.data / "storage"
        files = [path for path in data.rglob("*") if path.is_file() and storage not in path.parents]
        leaks = [path.name for path in files if any(secret in path.read_bytes() for secret in wanted)]
        if leaks:
            raise Unexpected(f"found in {', '.join(sorted(leaks))}")
        return f"none in {len(files)} files"

    def tidy(self):
        """Removes the large files of this run, so that a demo that is run often does not fill the disk."""
        for name, upload in self.uploads.items():
            if isinstance(name, tuple):
                try:
                    upload.settle()
                    upload.owner.delete(f"/objects/{upload.id}")
                except (Unexpected, OSError, http.client.HTTPException):
                    pass  # The disk is the only thing that would notice.


def refused(answer, status):
    """What a refusal says; anything else is not what should have happened."""
    if answer.status != status:
        raise Unexpected(f"{answer.why() if answer.status >= 300 else answer.status}, and {status} was expected")
    return answer.why()


def gone(answer):
    """The answer to a PUT, unless it says that something still lies there."""
    return None if answer.status == 412 else answer


def head(screen, data):
    known = {
        "freshclam": "freshclam's database and a file with the EICAR signature",
        "local": "a small local file (EICAR and one harmless text); freshclam's database could not be had",
    }
    database = os.environ.get("VESTIBULE_TEST_CLAMD_DATABASE", "")
    screen.say("Vestibule: the main job, on this machine: SQLite, an S3-compatible store in the process, real clamd")
    screen.say(f"data        {data}")
    screen.say(f"signatures  {known.get(database, 'those of the clamd that is configured')}")


def main():
    binary = os.environ.get("VESTIBULE_BIN") or str(ROOT / "target" / "debug" / "vestibule")
    data = Path(os.environ.get("VESTIBULE_DEMO_DATA") or ROOT / ".vestibule" / "demo").absolute()
    once = os.environ.get("VESTIBULE_DEMO_ONCE") == "1"
    screen = Screen()
    told = False
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        head(screen, data)
        with Gateway(binary, data) as gateway:
            screen.headings()
            story = Story(screen, gateway, binary)
            story.tell()
            told = True
            block = paste.block(gateway.public, story.apps.get("finance-invoices"))
            if once:
                story.line("paste the curl lines into bash", "PUT 200, then visible", paste.run, block)
                screen.say(screen.summary())
                return 1 if screen.failed else 0
            paste.show(screen, gateway, block)
            screen.say("The gateway runs until Ctrl-C; clamd goes on after that, until localstack/down clamd.")
            code = gateway.wait()
            screen.say(f"the gateway ended by itself (exit code {code}); {gateway.log} says why")
            return 1
    except KeyboardInterrupt:
        screen.say("\nthe gateway has ended")
        return (1 if screen.failed else 0) if told else 130
    except (Unexpected, OSError) as error:
        screen.say(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
