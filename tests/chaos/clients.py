"""The clients of a run: threads that upload, ask, download, repeat, give up and go away, and write down what they saw.

A careful client, as a good program would be written: an Idempotency-Key for each upload, and no answer is not the end.
Some are not careful: they send other bytes than they said, or none, or once more, or leave before the answer.
"""

import json
import random
import threading
import time

import payloads
import wire
from seen import Download, Put, sha256

# What a client means to do, and how often.
INTENTS = {
    "clean": 40,
    "late": 12,
    "deleted": 8,
    "infected": 10,
    "mistyped": 8,
    "wrongSize": 6,
    "never": 6,
    "twice": 6,
    "broken": 4,
}
FILES = {"infected": payloads.infected, "mistyped": payloads.mistyped}
APPS = {"roomy": 80, "tight": 10, "few": 10}
FINAL = ("visible", "quarantined", "rejected", "unscannable", "expired", "deleted")


def draw(chance, weights):
    return chance.choices(list(weights), list(weights.values()))[0]


class Client(threading.Thread):
    """One client with a number of uploads to do, one after the other."""

    def __init__(self, name, seed, run, uploads):
        super().__init__(name=name, daemon=True)
        self.chance = random.Random(f"{seed} {name}")
        self.run_of, self.uploads, self.seen = run, uploads, run.seen
        self.deadline = None

    def run(self):
        for turn in range(self.uploads):
            self.deadline = time.monotonic() + 45
            try:
                self.upload(f"{self.name}-{turn}")
            except Exception as error:  # A client that cannot understand an answer has found something.
                self.seen.surprise(f"{self.name}: {type(error).__name__}: {error}")
            time.sleep(self.chance.uniform(0, self.run_of.plan.pause))

    def upload(self, key):
        chance = self.chance
        intent, app = draw(chance, INTENTS), draw(chance, APPS)
        filename, content_type, body = FILES.get(intent, payloads.clean)(chance, self.seen.number())
        upload = self.seen.upload(
            app=app, intent=intent, key=key, filename=filename, content_type=content_type, body=body
        )
        if chance.random() < 0.06:
            self.ask_and_leave(upload)
        issued = self.ask(upload)
        if issued is None:
            return
        if intent == "twice":
            self.ask(upload)
        if intent != "never" and not self.put(upload, issued):
            return
        if chance.random() < 0.3:
            self.download(upload)
        if intent in ("clean", "late", "deleted", "twice") and self.wait(upload) == "visible":
            self.download(upload)
            if intent == "late":
                self.put_late(upload, issued)
                self.download(upload)
            if intent == "deleted":
                self.delete(upload)

    # Each of these is one thing that a client does, until there is an answer or its patience ends.

    def request(self, upload):
        size = len(upload.body)
        wanted = {"filename": upload.filename, "size": size, "contentType": upload.content_type}
        if int(sha256(upload.key.encode()), 16) % 2:  # The same at every try.
            wanted["sha256"] = upload.sha256
        return {**self.token(upload), "idempotency-key": upload.key}, json.dumps(wanted).encode()

    def token(self, upload):
        return {"authorization": f"Bearer {self.run_of.tokens[upload.app]}", "content-type": "application/json"}

    def ask(self, upload):
        """Requests an upload; the answer, or None where it was refused or never came."""
        headers, body = self.request(upload)
        while time.monotonic() < self.deadline:
            answer = wire.send("POST", f"{self.run_of.public}/request-upload", headers, body)
            if answer is None or answer.status in (429, 503):
                self.note(upload, answer)
                self.rest()
                continue
            if answer.status == 201:
                issued = answer.json()
                upload.ids.append(issued["objectId"])
                upload.grants.append(wire.grant_in(issued["uploadUrl"]))
                return issued
            upload.refused.append(answer.code())
            if answer.code() not in self.run_of.refusals:
                self.seen.surprise(f"{self.name}: request-upload: {answer.status} {answer.body[:300]}")
            return None
        return None

    def ask_and_leave(self, upload):
        """Asks, and is gone before the answer; the next try has the same key."""
        headers, body = self.request(upload)
        headers["content-length"] = str(len(body))
        wire.send_and_leave("POST", f"{self.run_of.public}/request-upload", headers, body)

    def put(self, upload, issued):
        """Sends the bytes; False where they did not arrive, as far as the client knows."""
        headers, body = dict(issued["headers"]), upload.body
        if upload.intent == "wrongSize":
            body += b"x" * 100
            headers["content-length"] = str(len(body))
        if upload.intent == "broken":
            wire.send_and_leave("PUT", issued["uploadUrl"], headers, body[: len(body) // 2])
            upload.puts.append(Put(None, sha256(body)))
            if self.chance.random() < 0.5:
                return False
        while time.monotonic() < self.deadline:
            answer = wire.send("PUT", issued["uploadUrl"], headers, body)
            status = answer.status if answer else None
            upload.puts.append(Put(status, sha256(body)))
            if status in (200, 412):  # 412: an earlier try arrived, and its answer did not.
                return True
            if status is not None and status < 500:
                if upload.intent != "wrongSize" and not self.run_of.plan.clocks:
                    self.seen.surprise(f"{self.name}: PUT: {status} {answer.body[:300]}")
                return False
            self.rest()
        return False

    def put_late(self, upload, issued):
        """Sends other bytes to a URL that has been used."""
        other = payloads.altered(upload.body)
        answer = wire.send("PUT", issued["uploadUrl"], dict(issued["headers"]), other)
        upload.puts.append(Put(answer.status if answer else None, sha256(other), late=True))

    def wait(self, upload):
        """Asks for the state until it is final; the last one."""
        until = min(self.deadline, time.monotonic() + self.run_of.plan.patience)
        state = None
        while time.monotonic() < until:
            answer = wire.send("GET", f"{self.run_of.public}/objects/{upload.id}", self.token(upload))
            if answer is not None and answer.status == 200:
                state = answer.json()["state"]
                upload.states.append(state)
                if state in FINAL:
                    return state
            elif answer is not None and answer.status == 404:
                self.seen.surprise(f"{self.name}: {upload.id} was acknowledged and does not exist")
                return None
            self.rest()
        return state

    def download(self, upload):
        """Requests a download, and reads it where a URL came. Before the object is visible there are refusals."""
        once = self.chance.random() < 0.2
        body = json.dumps({"objectId": upload.id, "oneTime": once}).encode()
        answer = wire.send("POST", f"{self.run_of.public}/request-download", self.token(upload), body)
        if answer is None or answer.status != 200:
            self.note(upload, answer)
            return
        url = answer.json()["downloadUrl"]
        if once:
            url = self.follow(upload, url)
            if url is None:
                return
        got = wire.send("GET", url)
        whole = got is not None and got.status == 200
        digest = sha256(got.body) if whole else None
        upload.downloads.append(Download(wire.grant_in(url), got.status if got else None, digest))

    def follow(self, upload, link):
        """Follows a link that works once, twice; where it led the first time that it led anywhere."""
        led = []
        for _ in range(2):
            answer = wire.send("GET", link)
            if answer is not None and answer.status == 302:
                led.append(answer.headers["location"])
        upload.links.append(len(led))
        return led[0] if led else None

    def delete(self, upload):
        upload.asked_to_delete = True
        while time.monotonic() < self.deadline:
            answer = wire.send("DELETE", f"{self.run_of.public}/objects/{upload.id}", self.token(upload))
            if answer is not None and answer.status < 300:
                upload.deleted = time.time()
                self.download(upload)
                return
            if answer is not None and answer.status not in (409, 410, 429, 503):
                self.seen.surprise(f"{self.name}: DELETE: {answer.status} {answer.body[:300]}")
                return
            if answer is not None and answer.status == 410:
                return  # An earlier try was carried out, and its answer did not come.
            self.rest()

    def note(self, upload, answer):
        """Remembers a refusal; an answer that says that the gateway itself is broken is a surprise."""
        if answer is not None:
            upload.refused.append(answer.code())
            if answer.status >= 500 and answer.status != 503:
                self.seen.surprise(f"{self.name}: {answer.status} {answer.body[:300]}")

    def rest(self):
        time.sleep(self.chance.uniform(0.1, 0.4))


class Greedy(Client):
    """Asks for more than there is of the two small quotas, gives some of it back, and never sends a byte."""

    def run(self):
        self.turns = 0
        while not self.run_of.ending.is_set():
            self.deadline = time.monotonic() + 45
            try:
                self.grasp(f"{self.name}-{self.seen.number()}")
            except Exception as error:  # As above.
                self.seen.surprise(f"{self.name}: {type(error).__name__}: {error}")
            time.sleep(self.chance.uniform(0, 0.1))

    def grasp(self, key):
        app = self.chance.choice(("tight", "few"))
        body = bytes(self.chance.randrange(10_000, 150_000))
        upload = self.seen.upload(
            app=app, intent="never", key=key, filename="menu.jpg", content_type="image/jpeg", body=body
        )
        self.turns += 1
        if self.ask(upload) and self.turns > 6 and self.chance.random() < 0.6:
            self.delete(upload)
