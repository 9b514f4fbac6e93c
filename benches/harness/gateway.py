"""A Vestibule under test: `vestibule dev` with everything on, some apps with tokens, and files that are really visible.

The apps are copies of the example app with a quota and limits that are counted and never reached. Each has some files,
uploaded, scanned by clamd and made visible like any other.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

from . import machine
from .load import Requests
from .server import Server

APPS, FILES = 16, 8
PICTURE = machine.ROOT / "tests/fixtures/menu.jpg"
COMPACT = {"separators": (",", ":")}


def scanner():
    """The address of a clamd: the gateway refuses uploads where there is none."""
    subprocess.run([machine.ROOT / "localstack/up", "clamd"], check=True, stdout=subprocess.DEVNULL)
    return "unix:" + state()["VESTIBULE_TEST_CLAMD_SOCKET"]


def state(directory=None):
    """What localstack/up says about its components."""
    directory = directory or os.environ.get("VESTIBULE_STATE", machine.ROOT / "localstack/.state")
    lines = pathlib.Path(directory, "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def app_name(at):
    return f"app-{at}"


def upload_body(at, size=48213):
    """What app number `at` asks for."""
    path = f"{app_name(at)}/u-42/"
    return {"filename": "menu.jpg", "size": size, "contentType": "image/jpeg", "path": path, "classification": "internal"}


def write_policies(directory, apps=APPS):
    """A policy directory of so many apps."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "apps").mkdir(parents=True)
    for name in ["classifications.toml", "base.cedar"]:
        shutil.copy(machine.ROOT / "policies" / name, directory)
    shutil.copy(machine.ROOT / "src/cli/dev/targets.toml", directory)
    window = "second = 1_000_000_000\nhour = 1_000_000_000\nday = 1_000_000_000\n"
    repeats = "same_request_per_minute = 1_000_000_000\n"
    (directory / "limits.toml").write_text(f"{repeats}[workflow]\n{window}[owners.marketing]\n{window}")
    manifest = (machine.ROOT / "policies/apps/where2eat.toml").read_text() + f"\n[limits.app]\n{window}"
    for pattern, line in (
        (r"^bytes = .*$", 'bytes = "1000000 GiB"'),
        (r"^objects = .*$", "objects = 1_000_000_000"),
        (r"^prefix = .*$", 'prefix = "{app}/"'),
    ):
        manifest = re.sub(pattern, line, manifest, flags=re.M)
    # `vestibule dev` makes its token for this one.
    for name in ["where2eat", *map(app_name, range(apps))]:
        text = re.sub(r"^app = .*$", f'app = "{name}"', manifest, flags=re.M)
        (directory / f"apps/{name}.toml").write_text(text)


def write_config(data, database=None):
    """The configuration that `vestibule dev` would write; on PostgreSQL where its URL is given."""
    text = (machine.ROOT / "src/cli/dev/vestibule.toml").read_text()
    # The default of `vestibule serve`: a developer wants it sooner.
    text = text.replace('interval = "5s"', 'interval = "30s"')
    if database:
        text = re.sub(r'^path = .*$', f'url = "{database}"\nmigrate = true', text, flags=re.M)
    data.mkdir(parents=True, exist_ok=True)
    (data / "vestibule.toml").write_text(text.replace("@DATA@", str(data)))


def post(url, token, document, expected):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(document, **COMPACT).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == expected, f"{url}: {answer.status}"
            return answer.read()
    except urllib.error.HTTPError as refusal:
        sys.exit(f"error: {url}: {refusal.code}: {refusal.read().decode()}")


def upload(public, token, at, body):
    """Uploads a picture of app number `at` and returns its object id."""
    issued = json.loads(post(f"{public}/request-upload", token, upload_body(at, len(body)), 201))
    put = urllib.request.Request(issued["uploadUrl"], body, issued["headers"], method="PUT")
    with urllib.request.urlopen(put, timeout=30) as answer:
        assert answer.status == 200, f"PUT: {answer.status}"
    return issued["objectId"]


def wait_visible(public, token, object_id):
    request = urllib.request.Request(f"{public}/objects/{object_id}", headers={"Authorization": f"Bearer {token}"})
    for _ in range(600):
        with urllib.request.urlopen(request, timeout=30) as answer:
            status = json.load(answer)
        if status["state"] == "visible":
            return
        time.sleep(0.05)
    sys.exit(f"error: {object_id} did not become visible in 30 s: {status}")


class Gateway(Server):
    """A running gateway, and the requests that can be sent to it."""

    def __init__(self, binary, name, data, preload=None, database=None, fresh=True, prefix=(), environment=None):
        data = pathlib.Path(data)
        if fresh:
            write_policies(data / "policies")
            write_config(data, database)
        settings = {f"VESTIBULE__{part}__LISTEN": "127.0.0.1:0" for part in ("PUBLIC", "ADMIN", "EMBEDDED")}
        settings["VESTIBULE__SCANNER__ADDRESS"] = scanner()
        super().__init__(
            name, [*prefix, binary, "dev", "--json", "--data", data], {**settings, **(environment or {})}, preload,
        )
        ready = json.loads(self.ready)
        self.public, self.admin, self.admin_token = ready["public"], ready["admin"], ready["adminToken"]
        self.address = self.public.removeprefix("http://")

    def go_on(self):
        """A question that was under way when it was stopped, to the scanner for example, has failed by now; it is ready
        again when the next one is answered."""
        super().go_on()
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{self.public}/readyz", timeout=30):
                    return
            except urllib.error.HTTPError:
                time.sleep(0.05)
        sys.exit(f"error: {self.name} is not ready after 10 s; see {self.log}")

    def tokens(self, apps=APPS):
        wanted = ({"app": app_name(at), "workflow": "bench"} for at in range(apps))
        made = (post(f"{self.admin}/admin/tokens", self.admin_token, body, 201) for body in wanted)
        return [json.loads(answer)["token"] for answer in made]

    def prepare(self, apps=APPS, files=FILES):
        """Makes tokens and visible files, and from them the two kinds of requests."""
        tokens = self.tokens(apps)
        picture = PICTURE.read_bytes()
        # A comment at the end of each file, so that clamd reads it and does not remember it.
        made = [
            (token, upload(self.public, token, at, picture + f"{at}.{number}".encode()))
            for at, token in enumerate(tokens) for number in range(files)
        ]
        for token, object_id in made:
            wait_visible(self.public, token, object_id)
        self.uploads = Requests(f"{self.name} uploads", upload_lines(tokens))
        self.downloads = Requests(f"{self.name} downloads", download_lines(made))
        return made

    def answers(self, made):
        """The length of one answer of each kind."""
        (token, object_id) = made[0]
        return (
            len(post(f"{self.public}/request-upload", token, upload_body(0), 201)),
            len(post(f"{self.public}/request-download", token, {"objectId": object_id}, 200)),
        )


def upload_lines(tokens):
    bodies = (json.dumps(upload_body(at), **COMPACT) for at in range(len(tokens)))
    return [("POST", "/request-upload", token, body) for token, body in zip(tokens, bodies)]


def download_lines(made):
    return [("POST", "/request-download", token, json.dumps({"objectId": id}, **COMPACT)) for token, id in made]
