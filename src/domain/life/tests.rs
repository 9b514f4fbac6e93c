//! What leads where, and what does not.

use super::*;
use crate::domain::bytes::Sha256Digest;

fn staged() -> StoredBytes {
    StoredBytes { etag: "\"a\"".into(), version: None, size: 3 }
}

fn verdict(finding: Finding, bytes: StoredBytes) -> Verdict {
    Verdict {
        finding,
        engine: "ClamAV 1.4.6".into(),
        signatures: "27000".into(),
        at: "2026-11-21T10:00:00Z".parse().unwrap(),
        bytes,
        sha256: Sha256Digest::of(b"abc"),
        detected: None,
    }
}

#[test]
fn only_a_clean_verdict_or_a_release_leads_to_visible() {
    let scanning = Life::Issued.arrived(staged()).unwrap().claim().unwrap();
    let clean = scanning.clone().judge(verdict(Finding::Clean, staged())).unwrap();
    assert_eq!(clean.promoted(staged(), None).unwrap().state(), State::Visible);

    let infected = Finding::Infected { signature: "Test.EICAR".into() };
    let held = scanning.clone().judge(verdict(infected, staged())).unwrap();
    assert!(held.clone().promoted(staged(), None).is_err());
    let released = held.release(Review { by: "ana".into(), reason: "false alarm".into() }).unwrap();
    assert_eq!(released.promoted(staged(), None).unwrap().state(), State::Visible);

    let unjudged = scanning.give_up("clamd is away".into()).unwrap();
    assert_eq!(unjudged.state(), State::Unscannable);
    assert!(unjudged.promoted(staged(), None).is_err());
}

#[test]
fn a_verdict_about_other_bytes_is_refused() {
    let scanning = Life::Scanning { staged: staged() };
    let other = StoredBytes { etag: "\"b\"".into(), ..staged() };
    assert!(scanning.judge(verdict(Finding::Clean, other)).is_err());
}

#[test]
fn what_was_recorded_before_there_was_retention_reads_back_as_not_retained() {
    let old = r#"{"state":"visible","served":{"etag":"a","size":3},"verdict":null,"review":null}"#;
    let life: Life = serde_json::from_str(old).unwrap();
    assert_eq!(life.retained_until(), None);
    assert_eq!(serde_json::to_value(&life).unwrap(), serde_json::from_str::<serde_json::Value>(old).unwrap());
    let until = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let Life::Visible { served, verdict, review, .. } = life else { panic!("it is visible") };
    let kept = Life::Visible { served, verdict, review, retained_until: until };
    let read: Life = serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap();
    assert_eq!(read.retained_until(), until);
}

#[test]
fn finished_states_go_nowhere_but_deleted() {
    let visible = Life::Visible { served: staged(), verdict: None, review: None, retained_until: None };
    assert!(visible.clone().claim().is_err() && visible.clone().arrived(staged()).is_err());
    assert_eq!(visible.delete("done".into()).unwrap().state(), State::Deleted);
    for life in [Life::Expired, Life::Deleted { detail: String::new() }] {
        assert!(life.clone().arrived(staged()).is_err());
        assert!(life.clone().delete(String::new()).is_err());
        assert!(life.expire().is_err());
    }
}

fn revocation() -> RevocationId {
    RevocationId::from_uuid(uuid::Uuid::from_u128(7))
}

fn review() -> Review {
    Review { by: "ana".into(), reason: "looked at it".into() }
}

#[test]
fn what_was_visible_is_released_to_exactly_the_same_bytes() {
    let until = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let clean = Some(verdict(Finding::Clean, staged()));
    let served = StoredBytes { etag: "\"served\"".into(), version: Some("v1".into()), size: 3 };
    let visible = Life::Visible { served: served.clone(), verdict: clean.clone(), review: None, retained_until: until };
    let contained = visible.contain(revocation()).unwrap();
    assert_eq!((contained.state(), contained.served()), (State::Quarantined, Some(&served)));
    assert_eq!((contained.staged(), contained.retained_until(), contained.verdict()), (None, until, clean.as_ref()));
    let read: Life = serde_json::from_value(serde_json::to_value(&contained).unwrap()).unwrap();
    assert_eq!(read, contained);
    assert!(contained.clone().promoted(staged(), None).is_err() && contained.clone().inspect_again().is_err());
    assert!(contained.clone().contain(revocation()).is_err(), "it is held already");
    assert_eq!(contained.clone().delete("gone".into()).unwrap().state(), State::Deleted);
    let released = contained.release(review()).unwrap();
    assert_eq!(released, Life::Visible { served, verdict: clean, review: Some(review()), retained_until: until });
}

#[test]
fn what_was_contained_before_it_was_judged_is_visible_only_after_its_inspection() {
    for life in [Life::Uploaded { staged: staged() }, Life::Scanning { staged: staged() }] {
        let contained = life.contain(revocation()).unwrap();
        assert_eq!((contained.state(), contained.staged()), (State::Quarantined, Some(&staged())));
        // A scan that was under way ends too late.
        assert!(contained.clone().judge(verdict(Finding::Clean, staged())).is_err());
        assert!(contained.clone().claim().is_err() && contained.clone().give_up(String::new()).is_err());
        assert!(contained.clone().inspect_again().is_err(), "that would be a release by one reviewer alone");
        assert_eq!(contained.release(review()).unwrap(), Life::Uploaded { staged: staged() });
    }
    let clean = Some(verdict(Finding::Clean, staged()));
    let promoting = Life::Promoting { staged: staged(), verdict: clean.clone(), review: None };
    let contained = promoting.contain(revocation()).unwrap();
    assert!(contained.clone().promoted(staged(), None).is_err(), "a copy that was under way is too late");
    let released = contained.release(review()).unwrap();
    assert_eq!(released, Life::Promoting { staged: staged(), verdict: clean, review: Some(review()) });
}

#[test]
fn containment_ends_what_is_awaited_and_leaves_alone_what_is_over_or_held() {
    let ended = Life::Issued.contain(revocation()).unwrap();
    assert!(ended.state() == State::Deleted && !ended.state().holds_quota(), "{ended:?}");
    let infected = verdict(Finding::Infected { signature: "Test.EICAR".into() }, staged());
    for life in [
        Life::Quarantined { staged: staged(), verdict: infected },
        Life::Unscannable { staged: staged(), verdict: None, detail: String::new() },
        Life::Rejected { reason: Reason::SizeMismatch, detail: String::new(), verdict: None },
        Life::Expired,
        Life::Deleted { detail: String::new() },
    ] {
        assert!(life.contain(revocation()).is_err());
    }
}
