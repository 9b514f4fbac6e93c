//! `[exchange]` of a manifest: who may have tokens of the app for the assertion of an identity provider.
//!
//! Without the table nobody may. What is left out widens nothing beyond what is written: only `roles` may be absent, and
//! then everybody may for whom a listed issuer vouches towards a listed client.

use std::time::Duration;

use crate::domain::ids::{IssuerName, RoleName, WorkflowName};
use crate::domain::scope::Action;

use super::classes::{Bounds, Classes, values, within};
use super::manifest::Lines;
use super::manifest_file::Draft;
use super::mistake::one_of;
use super::reader::{At, File, Section, choice, duration, read_text, text};

/// How long an exchanged token may live: a token is for a moment, and who needs more asks again.
pub const TOKEN_TTL: Bounds = Bounds { min: Duration::from_secs(60), max: Duration::from_secs(900) };

/// Whose assertions are exchanged for tokens of the app, and what those allow at most.
#[derive(Clone, Debug)]
pub struct ExchangeRules {
    /// The workflow whose tokens they are.
    pub workflow: WorkflowName,
    /// The trusted issuers, by the names of the configuration.
    pub issuers: Vec<IssuerName>,
    /// The clients of those issuers (`azp` or `client_id`) that may ask.
    pub clients: Vec<String>,
    /// The roles of which a person has one; everybody where empty.
    pub roles: Vec<RoleName>,
    /// What a token may allow.
    pub actions: Vec<Action>,
    /// How long it lives at most.
    pub max_ttl: Duration,
    lines: Lines,
}

impl ExchangeRules {
    /// Whether the users of this client of this issuer may have tokens.
    pub fn lists(&self, issuer: &IssuerName, client: &str) -> bool {
        self.issuers.contains(issuer) && self.clients.iter().any(|own| own == client)
    }

    /// The issuers that the table lists and the configuration does not have, each with where it is written.
    pub fn unknown_issuers<'a>(&'a self, known: &'a [&IssuerName]) -> impl Iterator<Item = String> + 'a {
        self.issuers.iter().filter(|issuer| !known.contains(issuer)).map(|issuer| {
            format!("{}: no issuer of the configuration is called '{issuer}'", self.rule("exchange.issuers"))
        })
    }

    /// The rule behind a key, for example `apps/where2eat.toml:30 exchange.roles`.
    pub(super) fn rule(&self, key: &'static str) -> String {
        self.lines.rule(key)
    }
}

/// What the table says, with the places that cross checks name.
#[derive(Debug)]
pub(super) struct Exchange {
    rules: Option<ExchangeRules>,
    roles: Vec<At<RoleName>>,
    max_ttl: Option<At<Duration>>,
    at: usize,
}

/// Reads the table.
pub(super) fn read(file: &File<'_>, mut section: Section<'_>) -> Exchange {
    let at = section.at;
    let workflow = section.required("workflow", "workflow = \"page\"", text::<WorkflowName>);
    let issuers = section.required_list("issuers", "issuers = [\"corp\"]", text::<IssuerName>);
    let clients = section.required_list("clients", "clients = [\"where2eat-page\"]", client);
    let roles = section.list("roles", text::<RoleName>);
    let actions = section.required_list(
        "actions",
        "actions = [\"write\", \"read\"]",
        choice::<Action>(&["write", "read", "list", "delete"]),
    );
    let max_ttl = section.optional("max_ttl", duration);
    if let Some(list) = roles.as_ref().filter(|list| list.value.is_empty()) {
        file.mistake(list.at, "'roles' is empty", "name the roles, or leave the key out for everybody");
    }
    let known = |key: &str| KEYS.iter().find(|(own, _)| *own == key);
    let lines = section.finish().into_iter().filter_map(|(key, line)| Some((known(key)?.1, line))).collect();
    let rules = || {
        Some(ExchangeRules {
            workflow: workflow?.value,
            issuers: values(issuers?.value),
            clients: values(clients?.value),
            roles: roles.iter().flat_map(|list| &list.value).map(|role| role.value.clone()).collect(),
            actions: values(actions?.value),
            max_ttl: max_ttl.as_ref().map_or(TOKEN_TTL.max, |found| found.value),
            lines: Lines::new(file.name, lines),
        })
    };
    let rules = rules();
    Exchange { rules, roles: roles.map(|list| list.value).unwrap_or_default(), max_ttl, at }
}

/// The keys, and how rules name them.
const KEYS: [(&str, &str); 6] = [
    ("workflow", "exchange.workflow"),
    ("issuers", "exchange.issuers"),
    ("clients", "exchange.clients"),
    ("roles", "exchange.roles"),
    ("actions", "exchange.actions"),
    ("max_ttl", "exchange.max_ttl"),
];

/// A client as an identity provider calls it.
fn client(value: &toml::de::DeValue<'_>) -> Result<String, super::reader::Wrong> {
    read_text(value, "put it between quotation marks", |text| {
        let good = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(text.to_owned()) } else { Err("a client's id is 1 to 200 visible ASCII characters".to_owned()) }
    })
}

impl Exchange {
    /// The table, where all of it could be read.
    pub(super) fn finish(self) -> Option<ExchangeRules> {
        self.rules
    }
}

/// What only all files together show: roles that nobody has, lives beyond the bounds, and a prefix of which no part is one
/// person's on every day.
pub(super) fn check(file: &File<'_>, app: &Draft, classes: &Classes) {
    let Some(exchange) = &app.exchange else { return };
    for role in exchange.roles.iter().filter(|role| !classes.roles.contains_key(&role.value)) {
        let names: Vec<&str> = classes.roles.keys().map(RoleName::as_str).collect();
        let remedy = one_of("roles of the table [roles]", role.value.as_str(), &names);
        file.mistake(role.at, format!("unknown role '{}'", role.value), remedy);
    }
    if let Some(ttl) = &exchange.max_ttl {
        within(file, "max_ttl", ttl, &TOKEN_TTL);
    }
    if app.prefix.as_ref().is_some_and(|prefix| prefix.value.has_user_behind_date()) {
        file.mistake(
            exchange.at,
            "people cannot have tokens of an app whose prefix puts {user} behind a date",
            "put {user} first, for example prefix = \"uploads/{user}/{yyyy}/\"",
        );
    }
}
