"""The checker's own tests: a world in order has no findings, and every way in which it is broken here is found.

Run by `tests/chaos/run --check`; needs neither servers nor a gateway.
"""

import unittest

import checker
from seen import Download, Put, Upload, sha256
from world import Entry, Row, Step, World

CLEAN, BAD, HTML = b"a clean picture", b"something infected", b"<html>"


def life(state, body, result="clean", **more):
    return {"state": state, "verdict": {"finding": {"result": result}, "sha256": sha256(body)}, **more}


def entry(action, row, **more):
    about = {"outcome": "allowed", "object": row.id, "grant": row.grant, "from_state": None, "to_state": None}
    return Entry(action, **{**about, "text": "{}", **more})


class WorldInOrder:
    """Four uploads of which one became visible, one was infected, one mistyped and one never sent."""

    PATHS = {
        "visible": ("uploaded", "scanning", "promoting", "visible"),
        "quarantined": ("uploaded", "scanning", "quarantined"),
        "rejected": ("uploaded", "scanning", "rejected"),
        "expired": ("expired",),
    }

    def __init__(self):
        self.world = World([], {}, [], {}, [], {}, [], {}, {"app": (1000, 10)})
        self.visible = self.add("visible", "clean", CLEAN, life("visible", CLEAN), 200)
        self.bad = self.add("quarantined", "infected", BAD, life("quarantined", BAD, "infected"), 200)
        self.html = self.add("rejected", "mistyped", HTML, {"state": "rejected", "reason": "type_mismatch"}, 200)
        self.never = self.add("expired", "never", b"nothing", {"state": "expired"}, None)
        self.world.bucket = {self.row(self.visible).served: CLEAN, self.row(self.bad).staging: BAD}
        self.visible.downloads.append(Download("grt_d", 200, sha256(CLEAN)))
        self.world.audit.append(entry("requestDownload", self.row(self.visible), grant="grt_d"))
        self.world.usage = {"app": (len(CLEAN) + len(BAD), 2)}
        self.world.told = [(node, self.visible.id, "visible") for node in range(3)]
        self.world.fetched = [(self.visible.id, sha256(CLEAN))]

    def row(self, upload):
        return self.world.rows[upload.id]

    def add(self, state, intent, body, about, status):
        world, number = self.world, len(self.world.rows) + 1
        id, grant = f"obj_{number}", f"grt_{number}"
        upload = Upload("app", intent, f"key-{number}", "name", "type", body, ids=[id], grants=[grant])
        if status:
            upload.puts.append(Put(status, sha256(body)))
        holds = len(body) if state in checker.HOLDING else None
        path = self.PATHS[state]
        keys = f"incoming/app/{id}/name", f"app/{id}/name"
        row = Row(id, "app", state, about, len(body), holds, len(path), grant, *keys)
        world.uploads.append(upload)
        world.rows[id] = row
        world.audit.append(entry("requestUpload", row))
        for before, after in zip(("issued", *path), path):
            world.audit.append(entry("changeState", row, from_state=before, to_state=after))
        world.counts[state] = world.counts.get(state, 0) + 1
        self.step(len(body), 1)
        if holds is None:
            self.step(-len(body), -1)
        return upload

    def step(self, size, count):
        held = [sum(one.held_bytes for one in self.world.steps), sum(one.held_objects for one in self.world.steps)]
        self.world.steps.append(Step("app", held[0] + size, held[1] + count, size, count))


class CheckerTest(unittest.TestCase):
    def setUp(self):
        self.order = WorldInOrder()
        self.world = self.order.world

    def finds(self, promise, words):
        findings = checker.check(self.world)
        self.assertTrue(
            any(finding.startswith(f"{promise}: ") and words in finding for finding in findings),
            f"{promise} {words!r} is not among {findings}",
        )

    def test_a_world_in_order_has_no_findings(self):
        self.assertEqual(checker.check(self.world), [])

    def test_p1_a_visible_object_that_a_client_sent_infected(self):
        row = self.order.row(self.order.bad)
        row.state, row.life = "visible", life("visible", BAD)
        self.world.bucket[row.served] = BAD
        self.finds("P1", "sent it as infected")

    def test_p1_a_visible_object_without_a_clean_verdict(self):
        self.order.row(self.order.visible).life["verdict"]["finding"]["result"] = "cannotBeJudged"
        self.finds("P1", "without a clean verdict")

    def test_p1_a_served_key_of_a_rejected_object(self):
        self.world.bucket[self.order.row(self.order.html).served] = HTML
        self.finds("P1", "its served key holds bytes")

    def test_p1_other_bytes_in_the_bucket_than_were_judged(self):
        self.world.bucket[self.order.row(self.order.visible).served] = b"swapped"
        self.finds("P1", "other bytes than the verdict is about")
        self.finds("P1", "other bytes than were uploaded first")

    def test_p1_a_download_of_other_bytes(self):
        self.order.visible.downloads[0].sha256 = sha256(b"swapped")
        self.finds("P1", "was downloaded with other bytes")

    def test_p1_a_download_of_an_infected_object(self):
        self.order.bad.downloads.append(Download("grt_x", 200, sha256(BAD)))
        self.finds("P1", "a client could download it")

    def test_p1_a_download_after_an_acknowledged_deletion(self):
        self.order.visible.deleted = self.order.visible.downloads[0].at - 1
        self.finds("P1", "after its deletion was acknowledged")

    def test_p1_a_visible_object_that_nobody_can_read_at_the_end(self):
        self.world.fetched = [(self.order.visible.id, None)]
        self.finds("P1", "with no bytes")

    def test_p2_a_link_that_works_twice(self):
        self.order.visible.links.append(2)
        self.finds("P2", "worked 2 times")

    def test_p3_an_upload_url_without_its_audit_entry(self):
        self.world.audit = [one for one in self.world.audit if (one.action, one.grant) != ("requestUpload", "grt_1")]
        self.finds("P3", "a client holds an upload URL of obj_1 (grant grt_1), and no audit entry")
        self.finds("P3", "exists without the audit entry of its issuance")

    def test_p3_a_url_with_another_grant_than_its_row(self):
        self.order.visible.grants[0] = "grt_other"
        self.finds("P3", "is not that of its row")

    def test_p3_a_download_url_without_its_audit_entry(self):
        self.world.audit = [one for one in self.world.audit if one.action != "requestDownload"]
        self.finds("P3", "a client holds a download URL")

    def test_p3_a_refusal_is_no_record_of_an_issuance(self):
        for one in self.world.audit:
            one.outcome = "refused" if one.action == "requestUpload" else one.outcome
        self.finds("P3", "no audit entry says so")

    def test_p4_more_than_the_quota_for_an_instant(self):
        self.order.step(2000, 1)
        self.order.step(-2000, -1)
        self.finds("P4", "at once, and the quota is (1000, 10)")

    def test_p4_more_objects_than_the_quota(self):
        self.world.quotas = {"app": (1000, 1)}
        self.finds("P4", "2 objects at once")
        self.finds("P4", "clients hold more than the quota")

    def test_p4_a_usage_that_is_not_the_sum_of_its_rows(self):
        self.world.usage["app"] = (5, 1)
        self.finds("P4", "the usage says (5, 1)")

    def test_p4_a_transaction_that_changed_rows_and_not_the_usage(self):
        self.world.steps[1].held_bytes += 7
        self.finds("P4", "a transaction left the usage at")

    def test_p4_what_was_never_used_and_did_not_come_back(self):
        row = self.order.row(self.order.never)
        row.held = row.size
        self.finds("P4", f"is expired and holds {row.size}")

    def test_p5_a_wrong_final_state(self):
        row = self.order.row(self.order.visible)
        row.state, row.life = "expired", {"state": "expired"}
        self.finds("P5", "is expired")

    def test_p5_an_upload_of_which_nobody_knows_may_end_either_way(self):
        self.order.never.puts.append(Put(None, "x"))
        self.assertEqual(checker.check(self.world), [])

    def test_p5_stray_bytes_in_the_bucket(self):
        self.world.bucket[self.order.row(self.order.visible).staging] = CLEAN
        self.finds("P5", "which no object accounts for")

    def test_p5_a_held_object_whose_bytes_are_gone(self):
        del self.world.bucket[self.order.row(self.order.bad).staging]
        self.finds("P5", "should be in the bucket")

    def test_p5_a_wrong_count_of_states(self):
        self.world.counts["visible"] = 9
        self.finds("P5", "states are counted as")

    def test_p8_a_token_in_the_trail(self):
        self.world.secrets = ["vst_live_secret"]
        self.world.audit[0].text = '{"detail":"vst_live_secret"}'
        self.finds("P8", "stands in the audit trail")

    def test_p9_an_acknowledged_object_that_is_gone(self):
        del self.world.rows[self.order.visible.id]
        self.finds("P9", "was acknowledged and is not in the database")

    def test_p9_an_object_that_is_stuck(self):
        row = self.order.row(self.order.visible)
        row.state, row.life = "scanning", {"state": "scanning"}
        self.finds("P9", "is still scanning")

    def test_p9_one_key_two_objects(self):
        self.order.visible.ids.append("obj_9")
        self.finds("P9", "stands for two objects")

    def test_p9_a_final_state_that_changed(self):
        self.order.never.states.append("visible")
        self.finds("P9", "was visible to a client and is expired")

    def test_p9_a_gap_in_an_objects_trail(self):
        self.world.audit = [one for one in self.world.audit if one.to_state != "scanning"]
        self.finds("P9", "its trail says")

    def test_p9_a_job_that_is_left(self):
        self.world.jobs.append("inspect of obj_1: under way")
        self.finds("P9", "left: inspect")

    def test_p9_a_node_that_sees_something_else(self):
        self.world.told[1] = (1, self.order.visible.id, "expired")
        self.finds("P9", "node 1 says")

    def test_an_answer_that_no_client_should_get(self):
        self.world.surprises.append("client1: 500")
        self.finds("client", "500")


if __name__ == "__main__":
    unittest.main()
