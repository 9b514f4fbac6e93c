//! Rate limits in the policy files: `[limits]` of a manifest, and `limits.toml` for all apps and for owners.
//!
//! `limits.toml` need not exist; then every workflow has the usual limits and no owner has any. Windows that a file leaves
//! out of a workflow's limits have the value of the next wider place, so that no workflow is ever without limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::ids::OwnerName;
use crate::domain::limits::{RateLimits, Rates, Window};

use super::mistake::one_of;
use super::reader::{At, File, Section, rate};

/// What `limits.toml` says.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// What a workflow may do where its app's manifest says nothing.
    workflow: Rates,
    same_request: u32,
    owners: BTreeMap<OwnerName, (Rates, usize)>,
}

/// `[limits]` of one manifest.
#[derive(Debug, Default)]
pub(super) struct AppLimits {
    workflow: Written,
    app: Written,
    same_request: Option<u32>,
}

/// The limits of one scope as they are written, each with its place.
#[derive(Debug, Default)]
struct Written([Option<At<u32>>; 3]);

impl Default for Limits {
    fn default() -> Self {
        Self { workflow: Rates::USUAL, same_request: RateLimits::USUAL_SAME_REQUEST, owners: BTreeMap::new() }
    }
}

/// Reads `limits.toml`.
pub(super) fn read(file: &File<'_>) -> Limits {
    let usual = Limits::default();
    let (mut root, _) = file.root();
    let same_request = root.optional("same_request_per_minute", rate).map_or(usual.same_request, |found| found.value);
    let workflow = root.section("workflow").map(|section| read_rates(file, section, &usual.workflow));
    let workflow = workflow.map_or(usual.workflow, |written| written.over(&usual.workflow));
    let mut owners = BTreeMap::new();
    for (name, section) in root.section("owners").map(|mut section| section.named_sections()).unwrap_or_default() {
        let at = section.at;
        let rates = read_rates(file, section, &Rates::default()).over(&Rates::default());
        match name.parse::<OwnerName>() {
            Ok(owner) => {
                owners.insert(owner, (rates, at));
            }
            Err(error) => file.mistake(at, format!("an owner cannot be named '{name}'"), error.to_string()),
        }
    }
    root.finish();
    Limits { workflow, same_request, owners }
}

/// Reads `[limits]` of a manifest.
pub(super) fn read_app(file: &File<'_>, root: &mut Section<'_>) -> AppLimits {
    let Some(mut section) = root.section("limits") else { return AppLimits::default() };
    let same_request = section.optional("same_request_per_minute", rate).map(|found| found.value);
    let workflow = section.section("workflow").map(|own| read_written(own)).unwrap_or_default();
    let app = section.section("app").map(|own| read_rates(file, own, &Rates::default())).unwrap_or_default();
    section.finish();
    AppLimits { workflow, app, same_request }
}

fn read_written(mut section: Section<'_>) -> Written {
    let written = Written(Window::ALL.map(|window| section.optional(window.as_str(), rate)));
    section.finish();
    written
}

fn read_rates(file: &File<'_>, section: Section<'_>, wider: &Rates) -> Written {
    let written = read_written(section);
    check(file, &written, wider);
    written
}

/// A longer window that admits less than a shorter one makes the shorter one say nothing.
fn check(file: &File<'_>, written: &Written, wider: &Rates) {
    let rates = written.over(wider);
    for (short, long) in [(Window::Second, Window::Hour), (Window::Hour, Window::Day), (Window::Second, Window::Day)] {
        let (Some(less), Some(more)) = (rates.of(long), rates.of(short)) else { continue };
        // Where neither is written here, the wider place has been told already.
        let at = [long, short].into_iter().find_map(|window| written.0[window as usize].as_ref()).map(|found| found.at);
        if let Some(at) = at.filter(|_| less < more) {
            let (short, long) = (short.as_str(), long.as_str());
            file.mistake(
                at,
                format!("'{long}' allows {less} requests, fewer than '{short}', which allows {more}"),
                format!("write a larger '{long}' or a smaller '{short}'; where one is left out, its usual value holds"),
            );
            return;
        }
    }
}

impl Written {
    /// These, and where nothing is written the wider ones.
    fn over(&self, wider: &Rates) -> Rates {
        Rates(Window::ALL.map(|window| match &self.0[window as usize] {
            Some(found) => Some(found.value),
            None => wider.of(window),
        }))
    }
}

impl Limits {
    /// Checks a manifest's limits together with those of this file.
    pub(super) fn check_app(&self, file: &File<'_>, app: &AppLimits) {
        check(file, &app.workflow, &self.workflow);
    }

    /// Every owner here must be the owner of some app: a slip would limit nobody.
    pub(super) fn check_owners(&self, file: &File<'_>, owners: &[&OwnerName]) {
        let names: Vec<&str> = owners.iter().map(|owner| owner.as_str()).collect();
        for (owner, (_, at)) in &self.owners {
            if !names.contains(&owner.as_str()) {
                let remedy = one_of("owners of apps", owner.as_str(), &names);
                file.mistake(*at, format!("no app has the owner '{owner}'"), remedy);
            }
        }
    }

    /// What limits the requests of an app's workflows.
    pub(super) fn of(&self, app: &AppLimits, owner: &OwnerName) -> Arc<RateLimits> {
        let none = Rates::default();
        let owner = self.owners.get(owner).map_or(none, |(rates, _)| *rates);
        let same_request = app.same_request.unwrap_or(self.same_request);
        Arc::new(RateLimits::new(app.workflow.over(&self.workflow), app.app.over(&none), owner, same_request))
    }

    /// What limits the requests of workflows whose app is not registered: they are refused, and may not storm either.
    pub(super) fn of_strangers(&self) -> Arc<RateLimits> {
        Arc::new(RateLimits::new(self.workflow, Rates::default(), Rates::default(), self.same_request))
    }
}
