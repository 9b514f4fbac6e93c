//! Why an answer is as it is: the rule that decided with its text, the checks before it, and what would be allowed.
//!
//! The order of the checks is that of [`crate::policy::decide`]; a test walks through it. What would be allowed is asked,
//! not derived: every type, class, basis and method of the manifest is tried in the asker's place.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::filetype::known_extensions;
use crate::domain::grant::UploadMethod;
use crate::domain::media::MediaType;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::bodies::UploadBody;
use crate::policy::units::show_size;
use crate::policy::{LAWFUL_BASES, Manifest, PolicySet};

use super::expect::without_line;
use super::question::{Asked, Methods, Permitted, Question};
use super::statements::statements;

/// An answer with its reasons.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The refusal's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The refusal's HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The refusal's sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The rules that decided, the manifest's first, each with its text where it is written in a file.
    pub decided_by: Vec<Decider>,
    /// What was checked before and found good, in order.
    pub passed: Vec<&'static str>,
    /// The terms of the permit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub permit: BTreeMap<&'static str, String>,
    /// What would be allowed instead; of an app that is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_be_allowed: Option<Possible>,
}

/// A rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decider {
    /// The rule, for example `apps/where2eat.toml:12 types`.
    pub rule: String,
    /// The line of the file, or the whole Cedar policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What an asker could ask for instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Possible {
    /// What the refusal itself names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<String>,
    /// Directories: the app's prefix for this asker, or those of the token's scopes.
    pub paths: Vec<String>,
    /// Of uploads: each content type with the largest size and the extensions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Data classes, each with how long a URL would live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classifications: Vec<String>,
    /// Lawful bases of the class that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lawful_bases: Vec<&'static str>,
    /// Upload methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<&'static str>,
}

/// A check and the reasons with which it refuses, where its rule ends with one of these words; any where there is none.
type Check = (&'static str, &'static [Reason], &'static [&'static str]);

/// The rule of a class, which an app may have too.
const CLASS_PROOF: &str = "classifications.toml proof_of_possession";

/// In the order of [`crate::policy::decide_upload`].
const UPLOAD: [Check; 21] = [
    (
        "the request can be read",
        &[Reason::InvalidFilename, Reason::InvalidPath, Reason::InvalidField, Reason::MethodNotSupported],
        &[""],
    ),
    ("the app is registered and switched on", &[Reason::AppUnknown, Reason::AppDisabled], &[]),
    ("the app's proof of possession", &[Reason::ProofOfPossessionRequired], &[]),
    ("the environment has a target", &[Reason::EnvironmentMismatch], &[]),
    ("the app has a place for the asker", &[Reason::PathNotAllowed], &["home"]),
    ("a scope of the token covers it", &[Reason::ScopeInsufficient], &[]),
    ("the path lies under the app's prefix", &[Reason::PathNotAllowed, Reason::InvalidPath], &[]),
    ("the content type", &[Reason::TypeNotAllowed], &[]),
    ("the extension", &[Reason::ExtensionMismatch], &[]),
    ("the size", &[Reason::SizeNotAllowed], &[]),
    ("the data class", &[Reason::ClassificationNotAllowed], &[]),
    ("the class's proof of possession", &[Reason::ProofOfPossessionRequired], &[CLASS_PROOF]),
    ("the workflow may handle the class", &[Reason::WorkflowNotAuthorised], &[]),
    ("the person may handle the class", &[Reason::UserNotAuthorised], &[]),
    ("the lawful basis", &[Reason::LawfulBasisRequired, Reason::InvalidField], &["basis", "lawful_basis"]),
    ("the target's region", &[Reason::ResidencyMismatch], &[]),
    ("the upload method", &[Reason::MethodNotSupported], &[]),
    ("the metadata", &[Reason::InvalidField], &["bounds"]),
    ("the conditions", &[Reason::ConditionNotMet], &[]),
    ("every other rule of manifest and class", &[], &[]),
    ("Cedar's policies", &[Reason::DeniedByPolicy], &[]),
];

/// In the order of the decisions about objects that are there, and of those about none.
const OTHERS: [Check; 14] = [
    ("the request can be read", &[Reason::InvalidField], &[""]),
    ("the app is registered and switched on", &[Reason::AppUnknown, Reason::AppDisabled], &[]),
    ("the app's proof of possession", &[Reason::ProofOfPossessionRequired], &[]),
    ("the object is the app's", &[Reason::ObjectNotFound], &[]),
    ("the environment fits", &[Reason::EnvironmentMismatch], &[]),
    ("a scope of the token covers it", &[Reason::ScopeInsufficient], &[]),
    ("the data class", &[Reason::ClassificationNotAllowed], &[]),
    ("the class's proof of possession", &[Reason::ProofOfPossessionRequired], &[CLASS_PROOF]),
    ("the workflow may handle the class", &[Reason::WorkflowNotAuthorised], &[]),
    ("the person may handle the class", &[Reason::UserNotAuthorised], &[]),
    ("the lawful basis", &[Reason::LawfulBasisRequired], &[]),
    ("the target's region", &[Reason::ResidencyMismatch], &[]),
    ("the disposition", &[Reason::DispositionNotAllowed], &[]),
    ("Cedar's policies", &[Reason::DeniedByPolicy], &[]),
];

/// In the order of [`crate::policy::decide_exchange`].
const EXCHANGE: [Check; 7] = [
    ("the app is registered and switched on", &[Reason::AppUnknown, Reason::AppDisabled], &[]),
    ("the app gives tokens to people", &[Reason::ExchangeNotAllowed], &["exchange"]),
    ("the app's proof of possession", &[Reason::ProofOfPossessionRequired], &[]),
    ("the person may have one", &[Reason::ExchangeNotAllowed], &["exchange.roles", "prefix"]),
    ("the environment has a target", &[Reason::EnvironmentMismatch], &[]),
    ("the token's scopes", &[Reason::ScopeNotGranted], &[]),
    ("Cedar's policies", &[Reason::DeniedByPolicy], &[]),
];

/// Asks, and says why.
pub fn explain(
    files: &BTreeMap<String, String>,
    set: &PolicySet,
    question: &Question,
    methods: Methods,
) -> Explanation {
    let answer = question.ask(set, methods);
    let rules = match &answer {
        Ok(permitted) => permitted.rule.split(", ").map(str::to_owned).collect(),
        Err(refusal) => refusal.rule.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    let decided_by = rules.into_iter().map(|rule| Decider { text: text_of(files, &rule), rule }).collect();
    let passed = checks(&question.asked, answer.as_ref().err());
    let would_be_allowed =
        set.app(&question.app).map(|app| possible(set, app, question, methods, answer.as_ref().err()));
    match answer {
        Ok(permitted) => Explanation {
            allowed: true,
            code: None,
            status: None,
            detail: None,
            decided_by,
            passed,
            permit: terms(&permitted),
            would_be_allowed,
        },
        Err(refusal) => Explanation {
            allowed: false,
            code: Some(refusal.reason.code()),
            status: Some(refusal.reason.status()),
            detail: Some(refusal.detail),
            decided_by,
            passed,
            permit: BTreeMap::new(),
            would_be_allowed,
        },
    }
}

fn terms(permitted: &Permitted) -> BTreeMap<&'static str, String> {
    permitted.terms().into_iter().filter(|(_, term)| term != "none").collect()
}

/// The line that a rule names, or the Cedar policy that begins there.
fn text_of(files: &BTreeMap<String, String>, rule: &str) -> Option<String> {
    let place = rule.split(' ').next()?;
    let (file, line) = place.rsplit_once(':')?;
    let (text, line) = (files.get(file)?, line.parse::<u32>().ok()?);
    if file.ends_with(".cedar") {
        let own = statements(text).into_iter().find(|own| own.line(text) == line)?;
        return Some(text[own.place].to_owned());
    }
    text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?).map(|line| line.trim().to_owned())
}

/// The checks before the one that refused; all of them where none did.
fn checks(asked: &Asked, refusal: Option<&Refusal>) -> Vec<&'static str> {
    let all: &[Check] = match asked {
        Asked::Upload(_) => &UPLOAD,
        Asked::Release(_) => &OTHERS[13..],
        Asked::Exchange(..) => &EXCHANGE,
        _ => &OTHERS,
    };
    // Erasing needs neither a basis nor the right place.
    let of_downloads = ["the data class", "the lawful basis", "the target's region", "the disposition"];
    let of_objects = [
        "the object is the app's",
        "the class's proof of possession",
        "the workflow may handle the class",
        "the person may handle the class",
    ];
    let of = |name: &str| match asked {
        Asked::List(_) => !of_downloads.contains(&name) && !of_objects.contains(&name),
        Asked::Delete(_) => !of_downloads.contains(&name),
        _ => true,
    };
    let names = all.iter().filter(|(name, ..)| of(name));
    let stopped = refusal.and_then(|refusal| {
        let rule = refusal.rule.as_deref().map(without_line).unwrap_or_default();
        let by = |words: &[&str]| match words {
            [] => true,
            [""] => rule.is_empty(),
            words => words.iter().any(|word| rule.ends_with(word)),
        };
        let fitting = all.iter().filter(|(_, reasons, words)| reasons.contains(&refusal.reason) && by(words));
        // One that names its rule says more than one that takes any.
        fitting.min_by_key(|(_, _, words)| words.is_empty()).map(|(name, ..)| *name)
    });
    // What no check of the table refuses is a rule that came after the single ones.
    let end = match (refusal, stopped) {
        (None, _) => None,
        (Some(_), Some(name)) => Some(name),
        (Some(_), None) => Some("every other rule of manifest and class"),
    };
    names.map(|(name, ..)| *name).take_while(|name| Some(*name) != end).collect()
}

fn possible(
    set: &PolicySet,
    app: &Manifest,
    question: &Question,
    methods: Methods,
    refusal: Option<&Refusal>,
) -> Possible {
    let instead = refusal.and_then(|refusal| refusal.allowed.clone()).unwrap_or_default();
    let paths = paths(set, app, question);
    let mut possible = Possible { instead, paths, ..Possible::default() };
    let Asked::Upload(body) = &question.asked else { return possible };
    let tries = Tries { set, question, body, methods };
    for media in &app.types {
        if let Some(size) = tries.largest(app, media) {
            let extensions = app.extensions.clone();
            let extensions =
                extensions.unwrap_or_else(|| known_extensions(media).iter().map(ToString::to_string).collect());
            possible.types.push(format!("{media} up to {} ({})", show_size(size), dotted(&extensions)));
        }
    }
    for class in &app.classifications {
        if let Some(permitted) = tries.any(app, |body| body.classification = Some(class.to_string())) {
            let ttl =
                permitted.terms().into_iter().find(|(name, _)| *name == "ttl").map_or_else(String::new, |(_, ttl)| ttl);
            possible.classifications.push(format!("{class} for {ttl}"));
        }
    }
    let bases = LAWFUL_BASES.into_iter();
    possible.lawful_bases = bases
        .filter(|basis| tries.any_type(app, |body| body.lawful_basis = Some((*basis).to_owned())).is_some())
        .collect();
    let named = [UploadMethod::Put, UploadMethod::Post].map(UploadMethod::as_str);
    possible.methods = named
        .into_iter()
        .filter(|method| tries.any(app, |body| body.method = Some((*method).to_owned())).is_some())
        .collect();
    possible
}

fn dotted(extensions: &[String]) -> String {
    extensions.iter().map(|extension| format!(".{extension}")).collect::<Vec<_>>().join(" ")
}

/// Where the asker may write or read: the app's prefix, narrowed by the scopes that allow the action.
fn paths(set: &PolicySet, app: &Manifest, question: &Question) -> Vec<String> {
    let Ok(who) = question.principal(set) else { return Vec::new() };
    let Ok(home) = app.prefix.render(&who, question.time) else { return Vec::new() };
    let target = app.target_for(question.environment);
    let Some(action) = question.asked.action() else { return Vec::new() };
    let scopes = who.scopes.iter().filter(|scope| {
        scope.app == app.app
            && scope.target.as_ref().is_none_or(|own| Some(own) == target)
            && scope.action.is_none_or(|own| own == action)
    });
    let mut paths: Vec<String> = scopes
        .filter_map(|scope| match (home.contains(&scope.prefix), scope.prefix.contains(&home)) {
            (true, _) => Some(format!("/{}", scope.prefix)),
            (false, true) => Some(format!("/{home}")),
            (false, false) => None,
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The same upload with something else in it.
struct Tries<'a> {
    set: &'a PolicySet,
    question: &'a Question,
    body: &'a UploadBody,
    methods: Methods,
}

impl Tries<'_> {
    fn ask(&self, change: impl FnOnce(&mut UploadBody)) -> Option<Permitted> {
        let mut body = UploadBody { path: None, metadata: None, ..self.body.clone() };
        change(&mut body);
        Question { asked: Asked::Upload(body), ..self.question.clone() }.ask(self.set, self.methods).ok()
    }

    /// With the type, a name that fits it, one byte, the usual method, and a class and a basis that are accepted.
    fn any(&self, app: &Manifest, change: impl Fn(&mut UploadBody)) -> Option<Permitted> {
        let bases =
            std::iter::once(self.body.lawful_basis.clone()).chain(LAWFUL_BASES.map(|basis| Some(basis.to_owned())));
        let bases: Vec<Option<String>> = bases.chain([None]).collect();
        bases.iter().find_map(|basis| {
            self.any_type(app, |body| {
                body.lawful_basis.clone_from(basis);
                change(body);
            })
        })
    }

    fn any_type(&self, app: &Manifest, change: impl Fn(&mut UploadBody)) -> Option<Permitted> {
        let classes = std::iter::once(self.body.classification.clone())
            .chain([None])
            .chain(app.classifications.iter().map(|class| Some(class.to_string())));
        let classes: Vec<Option<String>> = classes.collect();
        app.types.iter().find_map(|media| {
            classes.iter().find_map(|class| {
                self.ask(|body| {
                    body.classification.clone_from(class);
                    of_type(app, body, media, 1);
                    change(body);
                })
            })
        })
    }

    /// The largest size of a type that is accepted in the class and with the basis that are asked for, or in others.
    fn largest(&self, app: &Manifest, media: &MediaType) -> Option<u64> {
        let accepted = |size: u64| self.any(app, |body| of_type(app, body, media, size)).is_some();
        let (mut low, mut high) = (1, app.max_size_of(media));
        if !accepted(low) {
            return None;
        }
        // Limits are few and a class's may be the narrower one; halving finds whichever it is.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if accepted(middle) { low = middle } else { high = middle - 1 }
        }
        Some(low)
    }
}

fn of_type(app: &Manifest, body: &mut UploadBody, media: &MediaType, size: u64) {
    let own = app.extensions.as_ref().and_then(|own| own.first().cloned());
    let extension = own.or_else(|| known_extensions(media).first().map(ToString::to_string));
    body.filename = extension.map_or_else(|| "file".to_owned(), |extension| format!("file.{extension}"));
    (body.content_type, body.size, body.method) = (media.to_string(), size, None);
}
