//! What a slice of policies can see of a question, and so what its answer can depend on.
//!
//! An evaluation is a function of the question alone. A policy reads an attribute of an entity or of the context only by
//! naming it: `.name`, `["name"]` or `has name`, all of which are a string in the policy's JSON form, however the text
//! spells it. So an attribute whose name is no string of any policy of the slice cannot change the answer, and the key
//! leaves it out. Two things are seen without being named, and both are provided for: the context as a whole (as in
//! `context == {…}`), after which everything counts as named; and the ids of entities. Those of the workflow, the person,
//! the target, the app and the owner are always in the key. The object's id can be told only by a literal of its type,
//! since no attribute holds an object: a slice with such a literal remembers nothing. The time is handed over in whole
//! seconds, so that an answer to whoever reads it is remembered for one.
//!
//! Invariant: the key holds, with its length, every fact that is not proven unseen. Only what grows without bound is ever
//! left out.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::ask::{Asked, Asker, Fact, Question};
use crate::domain::principal::Subject;

/// What the policies of a slice name.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// Every string of the policies.
    words: BTreeSet<String>,
    /// Whether a policy compares the context as a whole.
    whole_context: bool,
    /// Whether a policy names a single object.
    objects: bool,
    /// Whether a policy asks for ancestors that it does not name: `principal in resource`.
    ancestors: bool,
}

impl Sight {
    /// Adds a policy, with its JSON form.
    pub(super) fn add(&mut self, policy: &Policy, json: &Value) {
        self.objects |= policy.entity_literals().iter().any(|uid| uid.type_name().basename() == "Object");
        self.walk(json, false);
    }

    /// Sees what the other one sees.
    pub(super) fn join(&mut self, other: &Sight) {
        self.words.extend(other.words.iter().cloned());
        self.whole_context |= other.whole_context;
        self.objects |= other.objects;
        self.ancestors |= other.ancestors;
    }

    /// `read` says that the value stands where an attribute of it is read.
    fn walk(&mut self, value: &Value, read: bool) {
        match value {
            Value::String(word) => {
                self.words.insert(word.clone());
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, false)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.words.insert(name.clone());
                    match (name.as_str(), member) {
                        ("Var", Value::String(variable)) if variable == "context" => self.whole_context |= !read,
                        // `in` with its two sides, or the ancestor of `is … in`.
                        ("in", side) => {
                            self.ancestors |= has_variable(side.get("right").unwrap_or(side));
                            self.walk(side, false);
                        }
                        ("." | "has", Value::Object(access)) => {
                            for (name, member) in access {
                                self.walk(member, name == "left");
                            }
                        }
                        _ => self.walk(member, false),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Whether a policy can see that an entity has ancestors of this type, or of any, without naming it.
    pub(super) fn climbs(&self, kind: &str, attribute: &str) -> bool {
        self.ancestors || self.names(kind) || self.names(attribute)
    }

    /// Whether a policy can read what has this name.
    pub(super) fn names(&self, attribute: &str) -> bool {
        self.whole_context || self.words.contains(attribute)
    }

    /// What the answer of this slice can depend on; `None` where nothing is remembered.
    pub(super) fn key(&self, slice: u32, question: &Question<'_>) -> Option<Vec<u8>> {
        if self.objects {
            return None;
        }
        let mut key = Key(Vec::with_capacity(192));
        key.0.extend(slice.to_le_bytes());
        key.text(question.app.as_str());
        key.text(question.owner.as_str());
        key.optional(question.region);
        match question.who {
            Asker::Workflow(principal) => {
                key.0.push(b'w');
                key.text(principal.workflow.as_str());
                key.text(principal.environment.as_str());
            }
            Asker::Operator(operator) => {
                key.0.push(b'o');
                key.text(&operator.name);
            }
            Asker::Person(_) => key.0.push(b'p'),
        }
        match question.person() {
            Some(person) => key.person(person),
            None => key.0.push(0),
        }
        match question.asked {
            Asked::App => key.0.push(b'a'),
            // An owner's region is the set's, as what is known about a target.
            Asked::Object { id: _, owner, owner_region: _, target, environment, region, classification, path } => {
                key.0.push(b'b');
                key.text(owner.as_str());
                // What else is known about a target is the set's, and answers do not outlive the set.
                key.optional(target.map(|target| target.name.as_str()));
                key.text(environment.as_str());
                key.text(region);
                key.text(classification.as_str());
                if self.names("path") {
                    key.text(path);
                }
            }
        }
        for (name, fact) in question.context.iter().filter(|(name, _)| self.names(name)) {
            key.text(name);
            key.fact(fact);
        }
        Some(key.0)
    }
}

/// Whether an expression is more than literals.
fn has_variable(expression: &Value) -> bool {
    match expression {
        Value::Object(members) => members.contains_key("Var") || members.values().any(has_variable),
        Value::Array(items) => items.iter().any(has_variable),
        _ => false,
    }
}

/// Bytes from which every part can be told again: each has its length.
struct Key(Vec<u8>);

impl Key {
    fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn person(&mut self, person: &Subject) {
        self.0.push(1 + u8::from(person.device_attested));
        self.text(&person.user);
        self.optional(person.role.as_ref().map(|role| role.as_str()));
        self.optional(person.project.as_deref());
        self.optional(person.device.as_deref());
    }

    fn fact(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Text(value) => self.text(value),
            Fact::Number(value) => self.0.extend(value.to_le_bytes()),
            Fact::Flag(value) => self.0.push(u8::from(*value)),
            Fact::Words(words) => {
                self.0.extend((words.len() as u32).to_le_bytes());
                words.iter().for_each(|word| self.text(word));
            }
            Fact::Address(address) => self.text(&address.to_string()),
            Fact::Moment(time) => self.0.extend(time.as_second().to_le_bytes()),
        }
    }
}
