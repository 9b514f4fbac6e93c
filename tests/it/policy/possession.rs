//! What apps and classes demand of a token's key, in decisions, in cases and in the mistakes of a directory.

use vestibule::domain::principal::{Possession, Principal};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::domain::scope::Action;
use vestibule::policy::cases::{PolicyFiles, case_of_file, explain, run};
use vestibule::policy::{
    DownloadRequest, PolicySet, decide_download, decide_limits, decide_list, decide_on_object, decide_upload, may_see,
};

use super::{Files, base, load, menus, methods, object, request, then, write};

const KINDS: [Option<Possession>; 3] = [None, Some(Possession::Dpop), Some(Possession::MutualTls)];

/// The base set with a demand of the app `menus`, of its class `internal`, or of both.
fn demanding(app: Option<&str>, class: Option<&str>) -> Files {
    let mut files = base();
    let line = |demand: &str| format!("proof_of_possession = \"{demand}\"\n");
    if let Some(demand) = app {
        let own = files["apps/menus.toml"].replacen("\n[", &format!("\n{}[", line(demand)), 1);
        files.insert("apps/menus.toml".into(), own);
    }
    if let Some(demand) = class {
        let own = files["classifications.toml"].replacen("[internal]\n", &format!("[internal]\n{}", line(demand)), 1);
        files.insert("classifications.toml".into(), own);
    }
    files
}

fn bound(possession: Option<Possession>) -> Principal {
    Principal { possession, ..menus() }
}

/// Every way in, each with its answer.
fn answers(set: &PolicySet, who: &Principal) -> Vec<(&'static str, Result<(), Refusal>)> {
    let (object, usual) = (object(), DownloadRequest::default());
    vec![
        ("upload", decide_upload(set, who, &request(), methods, &then()).map(drop)),
        ("download", decide_download(set, who, &object, &usual, &then()).map(drop)),
        ("read", decide_on_object(set, who, &object, Action::Read, &then()).map(drop)),
        ("delete", decide_on_object(set, who, &object, Action::Delete, &then()).map(drop)),
        ("list", decide_list(set, who, &"uploads/".parse().unwrap(), &then()).map(drop)),
    ]
}

#[test]
fn an_apps_demand_holds_for_everything_but_looking_at_its_limits() {
    for (demand, met) in [("dpop", [false, true, false]), ("mtls", [false, false, true]), ("any", [false, true, true])]
    {
        let set = load(&demanding(Some(demand), None));
        for (kind, met) in KINDS.into_iter().zip(met) {
            for (act, answer) in answers(&set, &bound(kind)) {
                let refusal = answer.err();
                assert_eq!(refusal.is_none(), met, "{demand} {kind:?} {act}: {refusal:?}");
                let Some(refusal) = refusal else { continue };
                assert_eq!(refusal.reason, Reason::ProofOfPossessionRequired);
                assert!(refusal.rule.as_deref().is_some_and(|rule| rule.ends_with(" proof_of_possession")));
                assert!(refusal.allowed.is_some_and(|allowed| !allowed.is_empty()));
            }
            assert!(decide_limits(&set, &bound(kind)).is_ok());
        }
    }
}

#[test]
fn a_classes_demand_holds_for_its_data_and_for_lists_of_it() {
    let set = load(&demanding(None, Some("mtls")));
    for kind in KINDS {
        let who = bound(kind);
        let met = kind == Some(Possession::MutualTls);
        for (act, answer) in answers(&set, &who) {
            // A list is about no class; what it shows of one is asked object by object.
            assert_eq!(answer.is_ok(), met || act == "list", "{kind:?} {act}: {answer:?}");
        }
        assert_eq!(may_see(&set, &who, &object(), &then()), met);
        let mut other = request();
        other.classification = Some("personal".parse().unwrap());
        other.lawful_basis = Some("consent".into());
        assert!(decide_upload(&set, &who, &other, methods, &then()).is_ok(), "another class asks for nothing");
    }
}

#[test]
fn both_demands_are_met_or_the_request_is_refused() {
    let set = load(&demanding(Some("any"), Some("dpop")));
    let rule = |kind| {
        let refusal = decide_upload(&set, &bound(kind), &request(), methods, &then()).err()?;
        Some(refusal.rule.unwrap().split(':').next().unwrap().to_owned())
    };
    assert_eq!(rule(None).as_deref(), Some("apps/menus.toml"));
    assert_eq!(rule(Some(Possession::MutualTls)).as_deref(), Some("classifications.toml"));
    assert_eq!(rule(Some(Possession::Dpop)), None);
}

#[test]
fn demands_that_contradict_each_other_and_unknown_ones_are_mistakes() {
    for (files, expected) in [
        (demanding(Some("dpop"), Some("mtls")), "no token has both; write \"mtls\""),
        (demanding(Some("yes"), None), "dpop, mtls, any"),
        (demanding(None, Some("certificate")), "dpop, mtls, any"),
    ] {
        let dir = write(&files);
        let mistakes = PolicySet::load(dir.path()).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.to_string().contains(expected)), "{mistakes:?}");
    }
    load(&demanding(Some("any"), Some("mtls")));
}

#[test]
fn a_case_says_what_was_proven_and_an_explanation_names_the_demand() {
    let files = demanding(None, Some("mtls"));
    let ask = |line: &str| {
        let usual = "request = { filename = 'menu.jpg', size = 1000, contentType = 'image/jpeg' }";
        let case = case_of_file("ask.toml", &format!("app = 'menus'\naction = 'upload'\n{line}\n{usual}\n"));
        case.map(|case| explain(&files, &load(&files), &case, methods))
    };
    let refused = ask("proof_of_possession = true").unwrap();
    assert_eq!(refused.code, Some("proof_of_possession_required"));
    assert_eq!(refused.decided_by[0].text.as_deref(), Some("proof_of_possession = \"mtls\""));
    assert_eq!(refused.passed.last(), Some(&"the data class"));
    assert!(ask("proof_of_possession = 'mtls'").unwrap().allowed);
    assert!(ask("proof_of_possession = 'password'").is_err());

    let text = "app = 'menus'\n[[case]]\nname = 'a'\naction = 'list'\nproof_of_possession = 'dpop'\nexpect = 'allow'\n\
                [[case]]\nname = 'b'\naction = 'list'\nexpect = 'deny'\ncode = 'proof_of_possession_required'\n";
    let policies = demanding(Some("dpop"), None);
    let files = PolicyFiles { policies, tests: [("tests/proofs.toml".to_owned(), text.to_owned())].into() };
    let set = files.set().unwrap();
    let report = run(&set, &files.cases(&set).unwrap(), "", methods);
    assert!(report.is_good(), "{report}");
}
