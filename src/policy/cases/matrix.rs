//! The decision matrix: role × action × class for each app, from decisions on one usual request of each kind.
//!
//! A cell says `allowed` or the code, with a number that names the rule below the table. What depends on the request
//! itself (sizes, paths, times) is not in it: each request is as usual as its kind allows, from an attested device, in a
//! directory of the app. It is committed, so that a change of authority shows as a change of this text.

use std::fmt::Write;

use crate::domain::filetype::known_extensions;
use crate::domain::ids::WorkflowName;
use crate::domain::principal::{Environment, Possession, Subject};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Action;
use crate::policy::bodies::{DownloadBody, UploadBody};
use crate::policy::{Classification, LAWFUL_BASES, Manifest, PolicySet, PossessionDemand};

use super::expect::without_lines;
use super::question::{About, Asked, Methods, ObjectFacts, Permitted, Question};
use super::read::usual_time;

/// The matrix of every app as Markdown.
pub fn matrix(set: &PolicySet, methods: Methods) -> String {
    let mut text = String::from(
        "# The decision matrix\n\n\
         What each app may do with data of each class, by the role of the person on whose behalf it acts: one usual request\n\
         of each kind, with a token for everything of the app, from an attested device and from no address that a policy could\n\
         know. Numbers name the rule that refuses, below each table. Release is a reviewer's act on a file in which malware was found; exchange is a person's wish for a\n\
         token for reading, for a minute.\n",
    );
    for app in set.apps() {
        table(&mut text, set, app, methods);
    }
    text
}

fn table(text: &mut String, set: &PolicySet, app: &Manifest, methods: Methods) {
    let classes: Vec<&Classification> = set.classes().collect();
    let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
    let _ = write!(text, "\n## {}\n\n| role | workflow | action | {} |\n|---|---|---|", app.app, names.join(" | "));
    text.push_str(&"---|".repeat(classes.len()));
    text.push('\n');
    let mut rules: Vec<String> = Vec::new();
    for role in roles(set) {
        for workflow in workflows(app) {
            for action in Asked::NAMES {
                let _ = write!(text, "| {} | {workflow} | {action} |", role.as_deref().unwrap_or("none"));
                for class in &classes {
                    let asker = Asker { set, app, methods, role: role.as_deref(), workflow: &workflow };
                    let cell = match asker.ask(action, class) {
                        Some(answer) => cell(answer, &mut rules),
                        None => "-".to_owned(),
                    };
                    let _ = write!(text, " {cell} |");
                }
                text.push('\n');
            }
        }
    }
    for (at, rule) in rules.iter().enumerate() {
        let _ = writeln!(text, "{}{}. {rule}", if at == 0 { "\n" } else { "" }, at + 1);
    }
}

fn cell(answer: Result<Permitted, Refusal>, rules: &mut Vec<String>) -> String {
    let refusal = match answer {
        Ok(_) => return "allowed".to_owned(),
        Err(refusal) => refusal,
    };
    let rule = without_lines(refusal.rule.as_deref().unwrap_or("the request itself"));
    let at = rules.iter().position(|own| *own == rule).unwrap_or_else(|| {
        rules.push(rule);
        rules.len() - 1
    });
    format!("{} ({})", refusal.reason.code(), at + 1)
}

/// Nobody in particular, and every role that the set knows.
fn roles(set: &PolicySet) -> Vec<Option<String>> {
    std::iter::once(None).chain(set.roles().keys().map(|role| Some(role.to_string()))).collect()
}

/// Those that the manifest names, and one that it does not.
fn workflows(app: &Manifest) -> Vec<String> {
    app.workflows.keys().map(ToString::to_string).chain(["any".to_owned()]).collect()
}

struct Asker<'a> {
    set: &'a PolicySet,
    app: &'a Manifest,
    methods: Methods,
    role: Option<&'a str>,
    workflow: &'a str,
}

impl Asker<'_> {
    /// The answer to the usual request of a kind; of several ways to ask, the first that is allowed.
    fn ask(&self, action: &str, class: &Classification) -> Option<Result<Permitted, Refusal>> {
        if action == "upload" {
            return self.upload(class);
        }
        let bases = bases(class);
        let facts = ObjectFacts {
            classification: Some(class.name.clone()),
            lawful_basis: bases.first().cloned().flatten(),
            ..ObjectFacts::default()
        };
        let about = About::Facts(Box::new(facts));
        let asked = match action {
            "download" => Asked::Download(about, DownloadBody::default()),
            "list" => Asked::List(None),
            "delete" => Asked::Delete(about),
            "release" => Asked::Release(about),
            _ => Asked::Exchange(vec![Action::Read], 60),
        };
        Some(self.question(asked, class)?.ask(self.set, self.methods))
    }

    fn upload(&self, class: &Classification) -> Option<Result<Permitted, Refusal>> {
        let mut first = None;
        for media in &self.app.types {
            for basis in bases(class) {
                let own = self.app.extensions.as_ref().and_then(|own| own.first().cloned());
                let extension = own.or_else(|| known_extensions(media).first().map(ToString::to_string));
                let body = UploadBody {
                    filename: extension.map_or_else(|| "file".to_owned(), |extension| format!("file.{extension}")),
                    size: 1,
                    content_type: media.to_string(),
                    classification: Some(class.name.to_string()),
                    lawful_basis: basis,
                    ..UploadBody::default()
                };
                let answer = self.question(Asked::Upload(body), class)?.ask(self.set, self.methods);
                if answer.is_ok() {
                    return Some(answer);
                }
                first.get_or_insert(answer);
            }
        }
        first
    }

    fn question(&self, asked: Asked, class: &Classification) -> Option<Question> {
        let live = self.app.live_target.is_some();
        let demands = [self.app.proof_of_possession, class.proof_of_possession];
        let certificate = demands.contains(&Some(PossessionDemand::Mtls));
        let workflow: WorkflowName = self.workflow.parse().ok()?;
        Some(Question {
            asked,
            app: self.app.app.clone(),
            workflow,
            owner: None,
            environment: if live { Environment::Live } else { Environment::Test },
            scopes: None,
            user: Some(Subject {
                user: "somebody".to_owned(),
                role: self.role.and_then(|role| role.parse().ok()),
                project: None,
                device: Some("device".to_owned()),
                device_attested: true,
            }),
            operator: "reviewer".to_owned(),
            possession: Some(if certificate { Possession::MutualTls } else { Possession::Dpop }),
            source: None,
            time: usual_time()?,
        })
    }
}

/// Those that the class accepts; none where it asks for none.
fn bases(class: &Classification) -> Vec<Option<String>> {
    let accepted = |basis: &&str| class.lawful_basis.iter().any(|own| own == basis);
    let bases: Vec<Option<String>> =
        LAWFUL_BASES.into_iter().filter(accepted).map(|basis| Some(basis.to_owned())).collect();
    if bases.is_empty() { vec![None] } else { bases }
}
