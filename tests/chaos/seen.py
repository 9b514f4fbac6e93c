"""What the clients saw, and when: the only testimony beside the database and the bucket.

A record is written by one client alone, and read when all have ended. Deliberately absent: anything that a client did
not see itself, such as what the gateway should have done.
"""

import hashlib
import itertools
import threading
import time
from dataclasses import dataclass, field


def sha256(body):
    return hashlib.sha256(body).hexdigest()


@dataclass
class Put:
    """One try to send bytes; `status` is None where no answer came."""

    status: int | None
    sha256: str
    late: bool = False
    at: float = field(default_factory=time.time)


@dataclass
class Download:
    """One URL to read an object; `status` is None where the bytes did not come whole."""

    grant: str | None
    status: int | None
    sha256: str | None
    at: float = field(default_factory=time.time)


@dataclass
class Upload:
    """One upload from its first request on."""

    app: str
    intent: str
    key: str
    filename: str
    content_type: str
    body: bytes = field(repr=False)
    ids: list = field(default_factory=list)
    grants: list = field(default_factory=list)
    puts: list = field(default_factory=list)
    downloads: list = field(default_factory=list)
    states: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    # How often each one-time link led somewhere.
    links: list = field(default_factory=list)
    asked_to_delete: bool = False
    # When the deletion was acknowledged.
    deleted: float | None = None

    @property
    def id(self):
        return self.ids[0] if self.ids else None

    @property
    def sha256(self):
        return sha256(self.body)

    def arrived(self):
        """True where the storage said that the bytes are there, False where they cannot be, None where nobody knows."""
        first = [put.status for put in self.puts if not put.late]
        if any(status in (200, 412) for status in first):
            return True
        return None if any(status is None or status >= 500 for status in first) else False


class Seen:
    """Everything that the clients of one run saw."""

    def __init__(self):
        self.uploads = []
        self.numbers = itertools.count(1)
        self.surprises = []
        self._lock = threading.Lock()

    def upload(self, **about):
        made = Upload(**about)
        with self._lock:
            self.uploads.append(made)
        return made

    def surprise(self, text):
        """An answer that no client should ever get."""
        with self._lock:
            self.surprises.append(text)

    def number(self):
        return next(self.numbers)
