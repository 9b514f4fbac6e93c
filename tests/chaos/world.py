"""The world after a run, as plain data: what the checker judges, and what its own tests break on purpose.

`rows`, `audit`, `usage`, `steps`, `counts` and `jobs` come out of the database by SQL, `bucket` out of the bucket byte
by byte, `uploads` and `surprises` from the clients. No code of the gateway is used to read them.
"""

from dataclasses import dataclass, field


@dataclass
class Row:
    """One object's row."""

    id: str
    app: str
    state: str
    life: dict
    size: int
    held: int | None
    revision: int
    grant: str
    staging: str
    served: str


@dataclass
class Entry:
    """One entry of the audit trail."""

    action: str
    outcome: str
    object: str | None
    grant: str | None
    from_state: str | None
    to_state: str | None
    text: str


@dataclass
class Step:
    """One transaction that changed what an app holds, seen by a trigger: what was written, and what the rows say."""

    app: str
    bytes: int
    objects: int
    held_bytes: int
    held_objects: int


@dataclass
class World:
    uploads: list
    rows: dict
    audit: list
    usage: dict
    steps: list
    counts: dict
    jobs: list
    bucket: dict
    quotas: dict
    # What each node says of some objects, after everything: (node, id, state).
    told: list = field(default_factory=list)
    # What was downloaded at the end: (id, sha256 or None).
    fetched: list = field(default_factory=list)
    surprises: list = field(default_factory=list)
    # Clocks were moved by more than a URL's life, so that an upload may have been ended before its bytes came.
    clocks: bool = False
    secrets: list = field(default_factory=list)
