//! Reads `*.cedar`: parsed, validated strictly against the schema, and held against the names of the other files.
//!
//! Strict validation proves that a policy cannot fail at a request for a reason of types or missing attributes (Cedar's
//! documentation, "Policy validation"). What it cannot see are slips in names: an app, an owner, a target, a class or a role
//! that does not exist would make a `forbid` that never applies, so those are mistakes here. Every policy has a name of its
//! own, its `@id`, by which the audit trail and the clients' refusals call it. Templates are refused: nothing links them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::Value;

use super::slices::Slices;
use super::{Owners, Rules, SCHEMA};
use crate::domain::grant::UploadMethod;
use crate::domain::principal::Environment;
use crate::policy::mistake::one_of;
use crate::policy::reader::File;

const HOW: &str = "vestibule.cedarschema says what policies can see, and docs.cedarpolicy.com how they are written";

#[allow(clippy::expect_used, reason = "a constant; a test reads it")]
static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| Validator::new(Schema::from_cedarschema_str(SCHEMA).expect("the schema is valid").0));

/// The names that policies may use.
pub(in crate::policy) struct Named<'a> {
    pub(in crate::policy) apps: &'a Owners<'a>,
    pub(in crate::policy) targets: Vec<&'a str>,
    pub(in crate::policy) classes: Vec<&'a str>,
    pub(in crate::policy) roles: Vec<&'a str>,
}

/// Reads the files. `None` where one has a mistake, which was reported.
pub(in crate::policy) fn read(files: &[&File<'_>], named: &Named<'_>) -> Option<Rules> {
    let mut policies: Vec<(Policy, Value)> = Vec::new();
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut good = true;
    for file in files {
        let Some(found) = read_file(file) else {
            good = false;
            continue;
        };
        for (at, policy) in found {
            good &= check_name(file, at, &policy, &mut ids);
            let Ok(json) = policy.to_json() else {
                file.mistake(at, "the policy has no JSON form", HOW);
                good = false;
                continue;
            };
            good &= check_entities(file, at, &policy, named);
            good &= check_words(file, at, &json, named);
            policies.push((policy, json));
        }
    }
    if !good {
        return None;
    }
    Slices::new(&policies, named.apps)
        .map(|slices| Rules::new(policies.len(), slices))
        .inspect_err(|error| {
            files.first().inspect(|file| file.mistake(0, error.to_string(), HOW));
        })
        .ok()
}

/// The policies of a file with their places, named `file:line id`.
fn read_file(file: &File<'_>) -> Option<Vec<(usize, Policy)>> {
    // A mark of the byte order is no token to Cedar; spaces in its stead keep every offset.
    let text = file.text.strip_prefix('\u{feff}').map_or(Cow::from(file.text), |rest| format!("   {rest}").into());
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            errors.iter().for_each(|error| report(file, 0, error));
            return None;
        }
    };
    let mut good = true;
    for template in set.templates() {
        let at = file.text.find(&template.to_cedar()).unwrap_or(0);
        file.mistake(
            at,
            "a template: nothing fills in its slots",
            "write a policy with names instead of ?principal and ?resource",
        );
        good = false;
    }
    let mut found: Vec<Policy> = set.policies().cloned().collect();
    // The parser numbers them in the order of the text: policy0, policy1, …
    found.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(0));
    let mut behind = 0;
    let mut policies = Vec::with_capacity(found.len());
    let mut validated = PolicySet::new();
    for policy in found {
        let text = policy.to_cedar().unwrap_or_default();
        let at = file.text[behind..].find(&text).map_or(behind, |at| behind + at);
        behind = at + text.len();
        let name = policy.annotation("id").unwrap_or_default();
        let policy = policy.new_id(PolicyId::new(format!("{}:{} {name}", file.name, file.place(at).0)));
        if let Err(error) = validated.add(policy.clone()) {
            file.mistake(at, error.to_string(), "write each policy on a line of its own");
            good = false;
        }
        policies.push((at, policy));
    }
    let place = |id: &PolicyId| policies.iter().find(|(_, policy)| policy.id() == id).map_or(0, |(at, _)| *at);
    let result = VALIDATOR.validate(&validated, ValidationMode::Strict);
    for error in result.validation_errors() {
        report(file, place(error.policy_id()), error);
        good = false;
    }
    for warning in result.validation_warnings() {
        let (line, _) = file.place(offset(warning).unwrap_or_else(|| place(warning.policy_id())));
        file.report.note(format!("{}:{line}: {}", file.name, without_id(&warning.to_string())));
    }
    good.then_some(policies)
}

/// Reports what Cedar found, at its own place where it names one.
fn report(file: &File<'_>, at: usize, error: &(impl Diagnostic + ?Sized)) {
    let help = error.help().map(|help| help.to_string());
    file.mistake(offset(error).unwrap_or(at), without_id(&error.to_string()), help.unwrap_or_else(|| HOW.to_owned()));
}

fn offset(error: &(impl Diagnostic + ?Sized)) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}

/// Cedar begins with the policy's id, which is the place that is told anyway.
fn without_id(message: &str) -> String {
    let rest = message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    rest.map_or(message, |(_, rest)| rest).to_owned()
}

/// Every policy has an `@id` that is a name and that no other policy of the directory has.
fn check_name(file: &File<'_>, at: usize, policy: &Policy, ids: &mut HashMap<String, String>) -> bool {
    let name = policy.annotation("id").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let problem =
            if name.is_empty() { "the policy has no name".to_owned() } else { format!("'{name}' is no name") };
        file.mistake(at, problem, "write @id(\"…\") above it, up to 64 characters of a-z, 0-9 and '-'");
        return false;
    }
    if let Some(before) = ids.insert(name.to_owned(), policy.id().to_string()) {
        file.mistake(
            at,
            format!("'{name}' is the name of another policy too ({before})"),
            "give each policy a name of its own",
        );
        return false;
    }
    true
}

/// The apps, owners and targets that the policy names exist.
fn check_entities(file: &File<'_>, at: usize, policy: &Policy, named: &Named<'_>) -> bool {
    let apps: Vec<&str> = named.apps.iter().map(|(app, _)| app.as_str()).collect();
    let owners: Vec<&str> = named.apps.iter().map(|(_, owner)| owner.as_str()).collect();
    let mut good = true;
    for uid in policy.entity_literals() {
        let (kind, id) = (uid.type_name().basename().to_owned(), uid.id().unescaped().to_owned());
        let (what, name, names) = match kind.as_str() {
            "App" => ("app", id.as_str(), &apps),
            "Workflow" => ("app", id.split_once('/').map_or(id.as_str(), |(app, _)| app), &apps),
            "Owner" => ("owner", id.as_str(), &owners),
            "Target" => ("target", id.as_str(), &named.targets),
            _ => continue,
        };
        if kind == "Workflow" && !id.contains('/') {
            file.mistake(
                at,
                format!("the policy names the workflow '{id}' without its app"),
                "write Workflow::\"<app>/<workflow>\"",
            );
            good = false;
        } else if !names.contains(&name) {
            let mut names = names.clone();
            names.sort_unstable();
            names.dedup();
            file.mistake(
                at,
                format!("the policy names the {what} '{name}', which is not there"),
                one_of(&format!("{what}s"), name, &names),
            );
            good = false;
        }
    }
    good
}

/// The classes, roles and the like that the policy compares with exist.
fn check_words(file: &File<'_>, at: usize, json: &Value, named: &Named<'_>) -> bool {
    let mut compared = Vec::new();
    compared_words(json, &mut compared);
    let mut roles = named.roles.clone();
    roles.push("operator");
    let environments = [Environment::Live.as_str(), Environment::Test.as_str()];
    let methods = [UploadMethod::Put.as_str(), UploadMethod::Post.as_str()];
    let mut good = true;
    for (attribute, word) in compared {
        let names: &[&str] = match attribute {
            "classification" => &named.classes,
            // Without a list of roles whatever a token says is one.
            "role" if !named.roles.is_empty() => &roles,
            "environment" => &environments,
            "method" => &methods,
            "provider" => &["s3", "azure", "embedded"],
            "state" => &["quarantined", "unscannable"],
            _ => continue,
        };
        if !names.contains(&word) {
            let problem = format!("the policy compares '{attribute}' with '{word}', which it never is");
            file.mistake(at, problem, one_of("its values", word, names));
            good = false;
        }
    }
    good
}

/// Attributes and the words that they are compared with: `a.x == "w"`, `a.x != "w"`, `["w", …].contains(a.x)`.
fn compared_words<'j>(json: &'j Value, found: &mut Vec<(&'j str, &'j str)>) {
    let attribute = |side: &'j Value| side.get(".")?.get("attr")?.as_str();
    let word = |side: &'j Value| side.get("Value")?.as_str();
    match json {
        Value::Object(members) => {
            for (operator, member) in members {
                if let (Some(left), Some(right)) = (member.get("left"), member.get("right")) {
                    match operator.as_str() {
                        "==" | "!=" => {
                            let sides = [(left, right), (right, left)];
                            found.extend(sides.iter().filter_map(|(one, other)| Some((attribute(one)?, word(other)?))));
                        }
                        "contains" => {
                            let words =
                                left.get("Set").and_then(Value::as_array).into_iter().flatten().filter_map(word);
                            found.extend(attribute(right).into_iter().flat_map(|attribute| {
                                words.clone().map(move |word| (attribute, word)).collect::<Vec<_>>()
                            }));
                        }
                        _ => {}
                    }
                }
                compared_words(member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| compared_words(item, found)),
        _ => {}
    }
}
