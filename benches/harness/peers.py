"""The programs that one would write otherwise, in benches/peers: installed from npm and PyPI by their lock files.

Each lives in the cache in a directory named after its lock; an installation counts once its `.complete` exists. Each
runs as a single process on the server's core, with its database on the steady disk.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

from . import gateway, machine
from .load import Requests
from .server import Server

HERE = machine.ROOT / "benches/peers"
NPM = ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund"]


class Missing(Exception):
    """A peer that cannot be installed here; the text says what to do."""


def _install(name, locks, install):
    """The directory of an installation; `install` fills it."""
    key = hashlib.sha256(b"".join((HERE / name / file).read_bytes() for file in locks)).hexdigest()[:12]
    directory = machine.CACHE / f"peer-{name}-{key}"
    if not (directory / ".complete").exists():
        machine.say(f"installing the peer {name} (first time only)")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        log = machine.OUT / f"install-{name}.log"
        with open(log, "w") as file:
            for command in install(directory):
                try:
                    done = subprocess.run(command, cwd=directory, stdout=file, stderr=subprocess.STDOUT)
                except FileNotFoundError:
                    raise Missing(f"{name}: {command[0]} was not found") from None
                if done.returncode:
                    raise Missing(f"{name}: {' '.join(map(str, command))} failed; see {log}")
        (directory / ".complete").touch()
    return directory


def _npm(name):
    files = ("package.json", "package-lock.json")

    def install(directory):
        for file in files:
            shutil.copy(HERE / name / file, directory)
        return [NPM]

    directory = _install(name, files, install)
    # Node looks for packages beside the program.
    shutil.copy(HERE / name / "server.js", directory)
    return ["node", directory / "server.js"]


def _pip(name):
    def install(directory):
        return [
            [sys.executable, "-m", "venv", directory / "venv"],
            [directory / "venv/bin/pip", "install", "--no-deps", "-r", HERE / name / "requirements.lock"],
        ]

    return [_install(name, ("requirements.lock",), install) / "venv/bin/python", HERE / name / "server.py"]


def _cargo(name):
    """Built like the gateway, in its target directory: most crates are the same."""
    built = machine.build(_cargo.profile, "--manifest-path", HERE / name / "Cargo.toml", "--target-dir", machine.TARGET)
    return [built / f"peer-{name}"]


# Name of the program, how to install it, the request of each and the language it stands for.
UPLOAD = ("POST", "/request-upload", "none", json.dumps(gateway.upload_body(0), **gateway.COMPACT))
PARAMS = ("GET", "/s3/params?filename=menu.jpg&type=image%2Fjpeg", "none", "")
PEERS = {
    "companion": ("Uppy Companion /s3/params, no record", _npm, PARAMS),
    "fastify": ("fastify, SDK presigner, better-sqlite3", _npm, UPLOAD),
    "fastapi": ("FastAPI, uvicorn, boto3, sqlite3", _pip, UPLOAD),
    "rust": ("the obvious Rust: actix, SDK presigned, sqlx", _cargo, UPLOAD),
}
SCRIPTED = ("companion", "fastify", "fastapi")


def commands(profile):
    """What to start each installed peer with; says which could not be installed."""
    _cargo.profile, found = profile, {}
    for name, (_, install, _) in PEERS.items():
        try:
            found[name] = install(name)
        except Missing as missing:
            machine.say(f"warning: left out {missing}")
    return found


def start(name, command, disk):
    data = pathlib.Path(disk.directory, f"peer-{name}")
    data.mkdir()
    environment = {"DATA": str(data), "NODE_ENV": "production", "PYTHONUNBUFFERED": "1"}
    server = Server(name, command, environment, disk.preload)
    server.uploads = Requests(name, [PEERS[name][2]])
    return server
