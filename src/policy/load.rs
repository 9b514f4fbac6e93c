//! Reads a policy directory: whole or nothing.
//!
//! Every file is read and checked even where others are wrong, so that one run lists all mistakes. Nothing of a directory
//! with a mistake is ever used. Files that do not end in `.toml` are no part of the set and are only noted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AppName, ClassName, OwnerName, RoleName, TargetName};
use crate::domain::target::Target;

use super::PolicySet;
use super::cedar::{Named, Rules, SCHEMA_FILE};
use super::classes::Classes;
use super::manifest_file::Draft;
use super::mistake::{Mistake, Report, nearest};
use super::reader::File;
use super::targets::Targets;
use super::{access, cedar, classes, cross, limits_file, manifest_file, owners, targets};

const TARGETS: &str = "targets.toml";
const CLASSES: &str = "classifications.toml";
// These need not be there.
const ACCESS: &str = "access.toml";
const LIMITS: &str = "limits.toml";
const OWNERS: &str = "owners.toml";
/// The directory of cases: no part of the set, see [`super::cases`].
pub(super) const TESTS: &str = "tests";
/// How the names of Cedar's files end.
const POLICIES: &str = ".cedar";

/// The set where there is no mistake; mistakes by file and line; notes.
pub(super) fn load(dir: &Path) -> (Option<PolicySet>, Vec<Mistake>, Vec<String>) {
    let report = Report::default();
    let files = read_directory(dir, &report);
    understand(&files, report, &dir.display().to_string())
}

/// The same of files that are in memory.
pub(super) fn load_files(files: &Files) -> (Option<PolicySet>, Vec<Mistake>) {
    let (set, mistakes, _) = understand(files, Report::default(), "the policies");
    (set, mistakes)
}

fn understand(files: &Files, report: Report, shown: &str) -> (Option<PolicySet>, Vec<Mistake>, Vec<String>) {
    let set = read_files(files, &report);
    let (mut mistakes, notes) = report.into_parts();
    if set.is_none() && mistakes.is_empty() {
        let (problem, remedy) = ("the directory could not be understood".to_owned(), "please report this".to_owned());
        mistakes.push(Mistake { file: shown.to_owned(), line: 1, column: 1, problem, remedy });
    }
    (set.filter(|_| mistakes.is_empty()), mistakes, notes)
}

/// Name relative to the directory, and text.
pub(super) type Files = BTreeMap<String, String>;

fn read_files(files: &Files, report: &Report) -> Option<PolicySet> {
    let handles: Vec<File<'_>> = files.iter().map(|(name, text)| File { name, text, report }).collect();
    let handle = |name: &str| handles.iter().find(|file| file.name == name);
    let targets = handle(TARGETS).map(|file| (file, targets::read(file)));
    let classes = handle(CLASSES).map(classes::read);
    let limits = handle(LIMITS).map(|file| (file, limits_file::read(file)));
    let owners = handle(OWNERS).map(|file| (file, owners::read(file)));
    let access = handle(ACCESS).map(|file| (file, access::read(file)));
    let mut drafts: Vec<(&File<'_>, Draft)> = Vec::new();
    for file in &handles {
        let Some(stem) = file.name.strip_prefix("apps/").and_then(|name| name.strip_suffix(".toml")) else { continue };
        match stem.parse::<AppName>() {
            Ok(app) => drafts.push((file, manifest_file::read(file, app))),
            Err(error) => file.mistake(0, format!("an app cannot be named '{stem}'"), error.to_string()),
        }
    }
    let (Some((targets_file, targets)), Some(classes)) = (targets, classes) else { return None };
    let region = |owner: &OwnerName| owners.as_ref().and_then(|(_, owners)| owners.region(owner));
    cross::check(targets_file, &targets, &classes, region, &drafts);
    cross::check_limits(limits.as_ref(), &drafts);
    if let Some((file, owners)) = &owners {
        owners.check(file, &drafts);
    }
    if let Some((file, access)) = &access {
        access.check(file, &drafts);
    }
    let rules = read_rules(&handles, &drafts, &targets, &classes);
    let limits = limits.map(|(_, limits)| limits).unwrap_or_default();
    let mut apps = BTreeMap::new();
    for (file, draft) in drafts {
        let manifest = draft.finish(file.name, &classes.ttl, &limits)?;
        apps.insert(manifest.app.clone(), manifest);
    }
    let targets = targets.found.into_iter().map(|found| (found.target.name.clone(), found.target)).collect();
    let strangers = limits.of_strangers();
    let owners = owners.map(|(_, owners)| owners.into_map()).unwrap_or_default();
    let access = access.map(|(_, access)| access.rules).unwrap_or_default();
    let (Classes { classes, roles, ttl, .. }, digest) = (classes, digest(files));
    Some(PolicySet { apps, targets, classes, roles, owners, ttl, strangers, access, rules: rules?, digest })
}

/// Reads the Cedar policies of the directory, of which there must be some: without one nothing would be permitted.
fn read_rules(
    handles: &[File<'_>],
    drafts: &[(&File<'_>, Draft)],
    targets: &Targets,
    classes: &Classes,
) -> Option<Rules> {
    let files: Vec<&File<'_>> = handles.iter().filter(|file| file.name.ends_with(POLICIES)).collect();
    // An owner that could not be read was reported; what is said about the others would only confuse.
    let apps: Option<Vec<_>> = drafts.iter().map(|(_, app)| Some((&app.app, &app.owner.as_ref()?.value))).collect();
    let named = Named {
        apps: &apps?,
        targets: targets.names.iter().map(TargetName::as_str).collect(),
        classes: classes.names.iter().map(ClassName::as_str).collect(),
        roles: classes.roles.keys().map(RoleName::as_str).collect(),
    };
    cedar::read(&files, &named)
}

/// Over names and texts with their lengths, so that no two directories share a digest by shifting bytes.
fn digest(files: &Files) -> Sha256Digest {
    let mut hash = Sha256::new();
    for part in files.iter().flat_map(|(name, text)| [name, text]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    Sha256Digest(hash.finalize().into())
}

/// The files of cases; none where there is no such directory.
pub(super) fn read_tests(dir: &Path, report: &Report) -> Files {
    let (mut files, tests) = (Files::new(), dir.join(TESTS));
    let names = if tests.is_dir() { list(&tests, "tests/", report) } else { None };
    for name in names.unwrap_or_default().iter().filter(|name| name.ends_with(".toml")) {
        read_file(dir, &format!("{TESTS}/{name}"), report, &mut files);
    }
    files
}

pub(super) fn read_directory(dir: &Path, report: &Report) -> Files {
    let mut files = Files::new();
    let Some(mut names) = list(dir, "", report) else { return files };
    names.retain(|name| name != TESTS);
    for name in &names {
        if name == "apps" {
            for app in list(&dir.join("apps"), "apps/", report).unwrap_or_default() {
                if app.ends_with(".toml") {
                    read_file(dir, &format!("apps/{app}"), report, &mut files);
                } else {
                    report.note(format!("apps/{app} does not end in .toml and is ignored"));
                }
            }
        } else if [TARGETS, CLASSES, LIMITS, OWNERS, ACCESS].contains(&name.as_str()) || name.ends_with(POLICIES) {
            read_file(dir, name, report, &mut files);
        } else if name == SCHEMA_FILE {
            check_schema(dir, report);
        } else if name.ends_with(".toml") {
            let meant = nearest(name, [TARGETS, CLASSES, LIMITS, OWNERS, ACCESS]).unwrap_or("apps/<app>.toml");
            at_start(
                report,
                name,
                "this file has no meaning here",
                &format!("did you mean {meant}? rename or remove it"),
            );
        } else {
            report.note(format!("{name} is no policy file and is ignored"));
        }
    }
    for (name, remedy) in [
        (TARGETS, "create it with a table like [images] for each bucket"),
        (CLASSES, "create it with a table like [internal] for each data class"),
    ] {
        if !names.iter().any(|own| own == name) {
            at_start(report, name, "the file is missing", remedy);
        }
    }
    if !names.iter().any(|own| own.ends_with(POLICIES)) {
        at_start(
            report,
            "base.cedar",
            "there is no *.cedar file, so nothing would be permitted",
            "create it, for what the manifests allow: @id(\"within-the-manifests\") permit (principal, action, resource);",
        );
    }
    if !names.iter().any(|own| own == "apps") {
        at_start(report, "apps", "the directory is missing", "create it with a file apps/<app>.toml for each app");
    }
    files
}

/// The schema in the directory is for editors; the one that counts is the program's own.
fn check_schema(dir: &Path, report: &Report) {
    if !fs::read_to_string(dir.join(SCHEMA_FILE)).is_ok_and(|text| text.trim() == cedar::SCHEMA.trim()) {
        report.note(format!(
            "{SCHEMA_FILE} is another one than this program's; write it anew with: vestibule policy schema"
        ));
    }
}

/// The names in a directory, sorted. Entries whose name starts with a dot are skipped: editors and mounted volumes
/// leave such behind.
fn list(dir: &Path, shown: &str, report: &Report) -> Option<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    };
    match read() {
        Ok(names) => Some(names),
        Err(error) => {
            let name = if shown.is_empty() { dir.display().to_string() } else { shown.to_owned() };
            let problem = format!("the directory cannot be read: {error}");
            at_start(report, &name, &problem, "check the path and the permissions");
            None
        }
    }
}

fn read_file(dir: &Path, name: &str, report: &Report, files: &mut Files) {
    let bytes = match fs::read(dir.join(name)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem = format!("the file cannot be read: {error}");
            return at_start(report, name, &problem, "check that it is a file and its permissions");
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => {
            files.insert(name.to_owned(), text);
        }
        Err(error) => {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let file = File { name, text: &good, report };
            file.mistake(good.len(), "the text is not UTF-8", "save the file with the encoding UTF-8");
        }
    }
}

/// A target that this gateway must not serve.
pub(super) fn of_another_environment(target: &Target) -> Mistake {
    let (name, is) = (&target.name, target.environment.as_str());
    Mistake {
        file: TARGETS.to_owned(),
        line: 1,
        column: 1,
        problem: format!("'{name}' is a {is} target, and [policies] environment in the configuration says otherwise"),
        remedy: "use the policy directory that is meant for this gateway, or correct the configuration".to_owned(),
    }
}

fn at_start(report: &Report, file: &str, problem: &str, remedy: &str) {
    let (file, problem, remedy) = (file.to_owned(), problem.to_owned(), remedy.to_owned());
    report.mistake(Mistake { file, line: 1, column: 1, problem, remedy });
}
