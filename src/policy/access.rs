//! Reads `access.toml`: how long claim links and tokens live, and which access is allowed in advance.
//!
//! The file need not be there: then the usual lives hold, and every request waits for somebody who decides. A rule allows
//! what it lists and nothing else; what lies in no list of it is decided by a person. Absent on purpose: who may decide;
//! that is the role of the operator.

use std::time::Duration;

use crate::domain::access::AskedAccess;
use crate::domain::ids::{AppName, OwnerName};
use crate::domain::principal::Environment;
use crate::domain::scope::{Action, Scope};

use super::manifest_file::Draft;
use super::mistake::one_of;
use super::reader::{At, File, Section, boolean, choice, life, read_text, text};
use super::units::show_life;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a claim link may work, and a replaced token live on.
const SHORT: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600)];
/// How long a token may live.
const LONG: [Duration; 2] = [HOUR, Duration::from_secs(3660 * 24 * 3600)];

/// What `access.toml` says, or what holds where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// How long a claim link works after the approval.
    pub claim_ttl: Duration,
    /// The longest life of a workflow's token, and of whatever is made by a rotation.
    pub max_token_ttl: Duration,
    /// How long the old token goes on working after a change of its scopes was claimed.
    pub change_window: Duration,
    /// Environments in which whoever asked may also approve, with the line of the file.
    self_approval: Vec<(Environment, u32)>,
    automatic: Vec<Automatic>,
}

/// Access that is allowed in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automatic {
    name: String,
    line: u32,
    apps: Vec<AppName>,
    environments: Vec<Environment>,
    actions: Vec<Action>,
    /// Empty for every owner.
    owners: Vec<OwnerName>,
    /// The longest life of such a token.
    pub max_ttl: Duration,
    /// Whether a reason must be written all the same.
    pub require_reason: bool,
}

impl Default for AccessRules {
    fn default() -> Self {
        Self {
            claim_ttl: DAY,
            max_token_ttl: 365 * DAY,
            change_window: DAY,
            self_approval: Vec::new(),
            automatic: Vec::new(),
        }
    }
}

impl Automatic {
    /// The rule as the audit trail names it, for example `access.toml:9 automatic "test-readers"`.
    pub fn rule(&self) -> String {
        format!("access.toml:{} automatic \"{}\"", self.line, self.name)
    }

    /// Whether the rule allows this app, environment and owner, and every action of every scope. It says nothing of whose
    /// token may be ended, nor for whom that one acts, so that a person decides on every change.
    fn covers(&self, asked: &AskedAccess) -> bool {
        let action = |scope: &Scope| match scope.action {
            Some(action) => self.actions.contains(&action),
            None => Action::ALL.iter().all(|action| self.actions.contains(action)),
        };
        asked.changes.is_none()
            && self.apps.contains(&asked.app)
            && self.environments.contains(&asked.environment)
            && (self.owners.is_empty() || self.owners.contains(&asked.owner))
            && !asked.scopes.is_empty()
            && asked.scopes.iter().all(action)
    }
}

impl AccessRules {
    /// The first rule that allows this in advance, for a token that lives so long from now; `None` for the rule's longest.
    pub fn automatic(&self, asked: &AskedAccess, life: Option<Duration>, has_reason: bool) -> Option<&Automatic> {
        self.automatic.iter().find(|rule| {
            rule.covers(asked) && life.is_none_or(|life| life <= rule.max_ttl) && (has_reason || !rule.require_reason)
        })
    }

    /// The rule by which whoever asked may approve it too, for example `access.toml:4 self_approval`.
    pub fn self_approval(&self, environment: Environment) -> Option<String> {
        let (_, line) = self.self_approval.iter().find(|(own, _)| *own == environment)?;
        Some(format!("access.toml:{line} self_approval"))
    }
}

/// The file as far as it could be read, with the places that are checked with the other files.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) rules: AccessRules,
    apps: Vec<At<AppName>>,
    owners: Vec<At<OwnerName>>,
}

/// Reads the file.
pub(super) fn read(file: &File<'_>) -> Access {
    let mut access = Access::default();
    let (mut root, _) = file.root();
    let usual = AccessRules::default();
    let mut bounded = |key, [least, most]: [Duration; 2], usual| {
        let found = root.optional(key, life);
        if let Some(found) = found.as_ref().filter(|found| !(least..=most).contains(&found.value)) {
            let bounds = format!("write \"{}\" to \"{}\"", show_life(least), show_life(most));
            file.mistake(found.at, format!("'{key}' cannot be {}", show_life(found.value)), bounds);
        }
        found.map_or(usual, |found| found.value)
    };
    access.rules.claim_ttl = bounded("claim_ttl", SHORT, usual.claim_ttl);
    access.rules.max_token_ttl = bounded("max_token_ttl", LONG, usual.max_token_ttl);
    access.rules.change_window = bounded("change_window", [Duration::ZERO, SHORT[1]], usual.change_window);
    let own = root.list("self_approval", choice::<Environment>(&["live", "test"]));
    access.rules.self_approval = own
        .map_or_else(Vec::new, |list| list.value.iter().map(|found| (found.value, file.place(found.at).0)).collect());
    for section in root.tables("automatic") {
        read_rule(file, section, &mut access);
    }
    root.finish();
    access
}

fn read_rule(file: &File<'_>, mut section: Section<'_>, access: &mut Access) {
    let line = file.place(section.at).0;
    let name = section.required("name", "name = \"test-readers\"", |value| {
        read_text(value, "put it between quotation marks", |text| {
            let good = (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if good { Ok(text.to_owned()) } else { Err("write 1 to 64 characters of a-z, 0-9 and '-'".to_owned()) }
        })
    });
    let apps = section.required_list("apps", "apps = [\"where2eat\"]", text::<AppName>);
    let environments =
        section.required_list("environments", "environments = [\"test\"]", choice::<Environment>(&["live", "test"]));
    let actions = section.required_list(
        "actions",
        "actions = [\"read\", \"list\"]",
        choice::<Action>(&["write", "read", "list", "delete"]),
    );
    let owners = section.list("owners", text::<OwnerName>);
    let max_ttl = section.required("max_ttl", "max_ttl = \"30d\"", life);
    let require_reason = section.optional("require_reason", boolean).is_none_or(|found| found.value);
    section.finish();
    if let Some(owners) = owners.as_ref().filter(|owners| owners.value.is_empty()) {
        file.mistake(owners.at, "'owners' is empty", "name some, or leave the key out for every owner");
    }
    let most = access.rules.max_token_ttl;
    if let Some(found) = max_ttl.as_ref().filter(|found| !(LONG[0]..=most).contains(&found.value)) {
        let remedy = format!("write \"{}\" to \"{}\", the 'max_token_ttl'", show_life(LONG[0]), show_life(most));
        file.mistake(found.at, format!("'max_ttl' cannot be {}", show_life(found.value)), remedy);
    }
    let (Some(name), Some(apps), Some(environments), Some(actions), Some(max_ttl)) =
        (name, apps, environments, actions, max_ttl)
    else {
        return;
    };
    if let Some(other) = access.rules.automatic.iter().find(|other| other.name == name.value) {
        let problem = format!("line {} has a rule named '{}' already", other.line, name.value);
        file.mistake(name.at, problem, "give each rule a name of its own; the audit trail names it");
    }
    let owners = owners.map(|list| list.value).unwrap_or_default();
    access.rules.automatic.push(Automatic {
        name: name.value,
        line,
        apps: apps.value.iter().map(|app| app.value.clone()).collect(),
        environments: environments.value.iter().map(|found| found.value).collect(),
        actions: actions.value.iter().map(|found| found.value).collect(),
        owners: owners.iter().map(|owner| owner.value.clone()).collect(),
        max_ttl: max_ttl.value,
        require_reason,
    });
    access.apps.extend(apps.value);
    access.owners.extend(owners);
}

impl Access {
    /// Every app and owner that a rule names must be there: a slip would allow nobody anything.
    pub(super) fn check(&self, file: &File<'_>, apps: &[(&File<'_>, Draft)]) {
        let names: Vec<&str> = apps.iter().map(|(_, app)| app.app.as_str()).collect();
        for app in self.apps.iter().filter(|app| !names.contains(&app.value.as_str())) {
            file.mistake(app.at, format!("unknown app '{}'", app.value), one_of("apps", app.value.as_str(), &names));
        }
        // An owner that could not be read was reported; it may be the one that is missed here.
        let owners: Option<Vec<&str>> = apps.iter().map(|(_, app)| Some(app.owner.as_ref()?.value.as_str())).collect();
        let Some(owners) = owners else { return };
        for owner in self.owners.iter().filter(|owner| !owners.contains(&owner.value.as_str())) {
            let remedy = one_of("owners of apps", owner.value.as_str(), &owners);
            file.mistake(owner.at, format!("no app has the owner '{}'", owner.value), remedy);
        }
    }
}
