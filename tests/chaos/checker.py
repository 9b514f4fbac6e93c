"""Judges a world after a run: promise by promise, from the rows, the bucket and what the clients saw.

Shares no code with the gateway; what a state may lead to and what counts against a quota is written here once more,
from the documentation. Each function returns its findings as sentences; an empty list is the proof of that run.
"""

from collections import Counter, defaultdict

from seen import sha256

HOLDING = {"issued", "uploaded", "scanning", "promoting", "visible", "quarantined", "unscannable"}
FINAL = {"visible", "quarantined", "rejected", "unscannable", "expired", "deleted"}
# Where an upload ends whose bytes arrived.
ENDS = {"infected": "quarantined", "mistyped": "rejected"}


def check(world):
    """Every finding, with the promise that it breaks."""
    findings = []
    for promise, judge in (
        ("P1", visible_means_clean),
        ("P2", a_link_works_once),
        ("P3", no_url_without_a_record),
        ("P4", quotas_hold),
        ("P5", final_states_are_right),
        ("P8", no_secret_in_the_trail),
        ("P9", nothing_acknowledged_is_lost),
    ):
        findings.extend(f"{promise}: {finding}" for finding in judge(world))
    findings.extend(f"client: {surprise}" for surprise in world.surprises)
    return findings


def visible_means_clean(world):
    sent = {upload.id: upload for upload in world.uploads if upload.id}
    for row in world.rows.values():
        verdict = row.life.get("verdict") or {}
        if row.state in ("promoting", "visible") and verdict.get("finding", {}).get("result") != "clean":
            yield f"{row.id} is {row.state} without a clean verdict"
        if row.state != "visible":
            if row.served in world.bucket:
                yield f"{row.id} is {row.state}, and its served key holds bytes"
            continue
        stored = world.bucket.get(row.served)
        if stored is None:
            yield f"{row.id} is visible, and its bytes are not in the bucket"
            continue
        if sha256(stored) != verdict.get("sha256"):
            yield f"{row.id} is visible, and the bucket has other bytes than the verdict is about"
        upload = sent.get(row.id)
        if upload and upload.intent in ENDS:
            yield f"{row.id} is visible, and a client sent it as {upload.intent}"
        if upload and sha256(stored) != upload.sha256:
            yield f"{row.id} is visible with other bytes than were uploaded first"
    for upload in world.uploads:
        for download in (one for one in upload.downloads if one.sha256 is not None):
            if upload.intent in ENDS:
                yield f"{upload.id} was sent as {upload.intent}, and a client could download it"
            if upload.deleted and download.at > upload.deleted:
                yield f"{upload.id} was downloaded after its deletion was acknowledged"
            if download.sha256 != upload.sha256:
                yield f"{upload.id} was downloaded with other bytes than were uploaded"
    for id, digest in world.fetched:
        if id in sent and digest != sent[id].sha256:
            yield f"{id} was downloaded at the end with {'other' if digest else 'no'} bytes"


def a_link_works_once(world):
    for upload in world.uploads:
        for times in upload.links:
            if times > 1:
                yield f"a one-time link to {upload.id} worked {times} times"


def no_url_without_a_record(world):
    allowed = {(e.action, e.object, e.grant) for e in world.audit if e.outcome == "allowed"}
    for upload in world.uploads:
        for id, grant in zip(upload.ids, upload.grants):
            row = world.rows.get(id)
            if ("requestUpload", id, grant) not in allowed:
                yield f"a client holds an upload URL of {id} (grant {grant}), and no audit entry says so"
            if row is None or row.grant != grant:
                yield f"a client holds an upload URL of {id}, and its grant {grant} is not that of its row"
        for download in upload.downloads:
            if not allowed & {(act, upload.id, download.grant) for act in ("requestDownload", "followLink")}:
                held = f"a download URL of {upload.id} (grant {download.grant})"
                yield f"a client holds {held}, and no audit entry says so"
    for row in world.rows.values():
        if ("requestUpload", row.id, row.grant) not in allowed:
            yield f"{row.id} exists without the audit entry of its issuance"


def quotas_hold(world):
    held = defaultdict(lambda: [0, 0])
    for row in world.rows.values():
        if (row.held is not None) != (row.state in HOLDING):
            yield f"{row.id} is {row.state} and holds {row.held}"
        if row.held is not None:
            if row.held != row.size:
                yield f"{row.id} has {row.size} bytes and holds {row.held}"
            held[row.app][0] += row.held
            held[row.app][1] += 1
    for app, limit in world.quotas.items():
        usage = tuple(world.usage.get(app, (0, 0)))
        if usage != tuple(held[app]):
            yield f"{app}: the usage says {usage}, and its objects hold {tuple(held[app])}"
        # What clients know to be held must fit too, by the length of what they sent, whatever the gateway has counted.
        known = [len(upload.body) for upload in world.uploads if upload.app == app and is_held(world, upload)]
        if sum(known) > limit[0] or len(known) > limit[1]:
            yield f"{app}: clients hold more than the quota {limit}"
    running = defaultdict(lambda: [0, 0])
    for step in world.steps:
        limit, now = world.quotas.get(step.app, (0, 0)), running[step.app]
        now[0] += step.held_bytes
        now[1] += step.held_objects
        if (step.bytes, step.objects) != tuple(now):
            left = (step.bytes, step.objects)
            yield f"{step.app}: a transaction left the usage at {left} and the rows at {tuple(now)}"
            running[step.app] = [step.bytes, step.objects]
        if now[0] > limit[0] or now[1] > limit[1]:
            yield f"{step.app}: {now[0]} bytes and {now[1]} objects at once, and the quota is {limit}"


def is_held(world, upload):
    return upload.id in world.rows and world.rows[upload.id].state in HOLDING


def final_states_are_right(world):
    for upload in world.uploads:
        row = world.rows.get(upload.id)
        if row is None or row.state in expected(upload, world.clocks) or was_cut_short(upload, row):
            continue
        right = " or ".join(sorted(expected(upload, world.clocks)))
        tries = [put.status for put in upload.puts]
        why = row.life.get("detail") or row.life.get("reason") or ""
        yield f"{row.id} ({upload.intent}, PUT {tries}) is {row.state} {why}; right: {right}"
    accounted = {row.served for row in world.rows.values() if row.state == "visible"}
    accounted |= {row.staging for row in world.rows.values() if row.state in ("quarantined", "unscannable")}
    for key in sorted(world.bucket.keys() - accounted):
        yield f"the bucket holds {key}, which no object accounts for"
    for key in sorted(accounted - world.bucket.keys()):
        yield f"{key} should be in the bucket"
    counted = Counter(row.state for row in world.rows.values())
    if dict(counted) != world.counts:
        yield f"states are counted as {world.counts}, and the rows say {dict(counted)}"


def was_cut_short(upload, row):
    """LocalStack keeps the part that it got of a body whose sender went away, where a real storage keeps nothing. The
    gateway finds the wrong size then, and rejects."""
    unanswered = any(put.status is None for put in upload.puts if not put.late)
    return unanswered and row.state == "rejected" and row.life.get("reason") == "size_mismatch"


def expected(upload, clocks):
    """Where an upload may end, after what its client saw of it."""
    if upload.deleted:
        return {"deleted"}
    arrived = upload.arrived()
    end = ENDS.get(upload.intent, "visible")
    states = {end} if arrived else {"expired"} if arrived is False else {end, "expired"}
    if upload.asked_to_delete:
        states.add("deleted")
    if clocks:
        states.add("expired")
    return states


def no_secret_in_the_trail(world):
    for secret in (*world.secrets, "X-Amz-Signature="):
        for entry in world.audit:
            if secret in entry.text:
                yield f"a token or a signature stands in the audit trail: {entry.action}"


def nothing_acknowledged_is_lost(world):
    trail = defaultdict(list)
    for entry in world.audit:
        if entry.object:
            trail[entry.object].append(entry)
    for upload in world.uploads:
        for id in upload.ids:
            if id not in world.rows:
                yield f"{id} was acknowledged and is not in the database"
            if id != upload.id:
                yield f"the key {upload.key} stands for two objects, {upload.id} and {id}"
        for state in upload.states:
            # What a client was told once can change only as an object's life allows.
            row = world.rows.get(upload.id)
            if row and state in FINAL and row.state != state and not (state == "visible" and row.state == "deleted"):
                yield f"{upload.id} was {state} to a client and is {row.state}"
    for row in world.rows.values():
        if row.state not in FINAL:
            yield f"{row.id} is still {row.state}"
        yield from gaps(row, trail[row.id])
    for job in world.jobs:
        yield f"left: {job}"
    for node, id, state in world.told:
        if id in world.rows and world.rows[id].state != state:
            yield f"node {node} says that {id} is {state}, and the database {world.rows[id].state}"
        if id not in world.rows:
            yield f"node {node} knows {id}, and the database does not"


def gaps(row, entries):
    """An object's changes are all on record, each beginning where the one before ended."""
    state, changes = "issued", 0
    pending = [entry for entry in entries if entry.to_state and entry.outcome == "allowed"]
    while True:
        # Nodes number entries by their own clocks: the order is that of the states, not of the numbers.
        following = next((entry for entry in pending if entry.from_state == state), None)
        if following is None:
            break
        pending.remove(following)
        state, changes = following.to_state, changes + 1
    if pending or state != row.state or changes != row.revision:
        told = ", ".join(f"{e.from_state} to {e.to_state}" for e in entries if e.to_state)
        yield f"{row.id} is {row.state} after {row.revision} changes, and its trail says: {told or 'nothing'}"
