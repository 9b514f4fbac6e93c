//! What only all files together can show: names that do not exist, environments, residencies and lives that do not
//! fit, and places in a bucket that overlap.
//!
//! Overlap is judged by whole segments on the part of a prefix before its first placeholder, in both directions, and by
//! the bucket itself, not by the target's name: two targets may describe one bucket.

use std::collections::BTreeMap;

use crate::domain::grant::UploadMethod;
use crate::domain::ids::{ClassName, OwnerName, TargetName};
use crate::domain::key::Prefix;
use crate::domain::principal::Environment;
use crate::domain::target::{ProviderSettings, Target};

use super::class_check;
use super::classes::{Classes, Classification, within};
use super::conditions;
use super::exchange_file;
use super::limits_file::Limits;
use super::manifest_file::Draft;
use super::mistake::one_of;
use super::reader::{At, File};
use super::targets::Targets;
use super::units::show_size;

/// One `PutObject` or form: 5 GiB (Amazon S3 user guide, "Uploading objects").
const S3_LARGEST: u64 = 5 << 30;
/// One `Put Blob`: 5,000 MiB (Azure, "Scalability and performance targets for Blob storage").
const AZURE_LARGEST: u64 = 5000 << 20;

/// Checks every app against targets, classes and the other apps.
pub(super) fn check<'o>(
    file: &File<'_>,
    targets: &Targets,
    classes: &Classes,
    region: impl Fn(&OwnerName) -> Option<&'o str>,
    apps: &[(&File<'_>, Draft)],
) {
    for (file, app) in apps {
        let live = app.environment;
        check_target(file, "target", app.target.as_ref(), live, app, targets);
        check_target(file, "test_target", app.test_target.as_ref(), Environment::Test, app, targets);
        let known = check_classes(file, app, targets, classes);
        if let Some(known) = known {
            class_check::check(file, app, targets, &known, &region);
        }
        conditions::check(file, app, classes);
        exchange_file::check(file, app, classes);
        if let Some(ttl) = &app.upload_ttl {
            within(file, "upload_ttl", ttl, &classes.ttl.upload);
        }
        if let Some(ttl) = &app.download_ttl {
            within(file, "download_ttl", ttl, &classes.ttl.download);
        }
    }
    check_buckets(file, targets);
    check_places(file, targets, apps);
}

/// Checks the rate limits of every app together with those of `limits.toml`, where there is one.
pub(super) fn check_limits(limits: Option<&(&File<'_>, Limits)>, apps: &[(&File<'_>, Draft)]) {
    let usual = Limits::default();
    let all = limits.map_or(&usual, |(_, limits)| limits);
    for (file, app) in apps {
        all.check_app(file, &app.limits);
    }
    // An owner that could not be read was reported; it may be the one that is missed here.
    let owners: Option<Vec<&OwnerName>> = apps.iter().map(|(_, app)| Some(&app.owner.as_ref()?.value)).collect();
    if let (Some((file, limits)), Some(owners)) = (limits, owners) {
        limits.check_owners(file, &owners);
    }
}

fn check_target(
    file: &File<'_>,
    key: &str,
    name: Option<&At<TargetName>>,
    environment: Environment,
    app: &Draft,
    targets: &Targets,
) {
    let Some(name) = name else { return };
    if !targets.names.contains(&name.value) {
        if targets.complete {
            let names: Vec<&str> = targets.names.iter().map(TargetName::as_str).collect();
            let remedy = one_of("targets", name.value.as_str(), &names);
            file.mistake(name.at, format!("unknown target '{}'", name.value), remedy);
        }
        return;
    }
    let Some(target) = targets.get(&name.value) else { return };
    if target.environment != environment {
        let fitting: Vec<&str> = targets
            .found
            .iter()
            .map(|found| &found.target)
            .filter(|other| other.environment == environment)
            .map(|other| other.name.as_str())
            .collect();
        let (is, wanted) = (target.environment.as_str(), environment.as_str());
        let problem = format!("'{key}' is '{}', a {is} target, and must be a {wanted} one", name.value);
        file.mistake(
            name.at,
            problem,
            format!(
                "{wanted} targets are: {}",
                if fitting.is_empty() { "none yet".to_owned() } else { fitting.join(", ") }
            ),
        );
    }
    let azure = matches!(target.provider, ProviderSettings::Azure { .. });
    let form = app.methods.iter().flat_map(|list| &list.value).find(|method| method.value == UploadMethod::Post);
    if let Some(form) = form.filter(|_| azure) {
        let problem = format!("'methods' holds POST, and '{}' is an Azure container", name.value);
        file.mistake(form.at, problem, "remove it; upload forms exist on S3 only");
    }
    let largest = if azure { AZURE_LARGEST } else { S3_LARGEST };
    if let Some(size) = app.max_size.as_ref().filter(|size| size.value > largest) {
        let problem = format!("'max_size' is more than '{}' takes in one upload", name.value);
        file.mistake(size.at, problem, format!("write at most \"{}\"", show_size(largest)));
    }
}

/// Answers with the classes that the app lists, where all of them could be read.
fn check_classes<'c>(
    file: &File<'_>,
    app: &Draft,
    targets: &Targets,
    classes: &'c Classes,
) -> Option<Vec<&'c Classification>> {
    let list = app.classifications.as_ref()?;
    let names: Vec<&str> = classes.names.iter().map(ClassName::as_str).collect();
    let mut known: Vec<&Classification> = Vec::new();
    for class in &list.value {
        if !classes.names.contains(&class.value) && classes.complete {
            let remedy = one_of("classes", class.value.as_str(), &names);
            file.mistake(class.at, format!("unknown class '{}'", class.value), remedy);
        }
        known.extend(classes.classes.get(&class.value));
    }
    let default = app.default_classification.as_ref();
    for (key, name) in [("target", &app.target), ("test_target", &app.test_target)] {
        let Some(target) = name.as_ref().and_then(|name| targets.get(&name.value)) else { continue };
        let place = &target.residency;
        if !known.is_empty() && known.len() == list.value.len() && known.iter().all(|class| !class.may_reside_in(place))
        {
            let problem = format!("no class of this app may lie in '{place}', where its {key} '{}' is", target.name);
            file.mistake(list.at, problem, residency_remedy(&known));
        } else if let Some(default) = default
            && let Some(class) = known.iter().find(|class| class.name == default.value)
            && !class.may_reside_in(place)
        {
            let problem =
                format!("'{}' data may not lie in '{place}', where the app's {key} '{}' is", class.name, target.name);
            file.mistake(default.at, problem, residency_remedy(&[class]));
        }
    }
    (known.len() == list.value.len()).then_some(known)
}

fn residency_remedy(classes: &[&Classification]) -> String {
    let mut places: Vec<&str> = classes.iter().flat_map(|class| &class.residency).map(String::as_str).collect();
    places.sort_unstable();
    places.dedup();
    format!("choose a target in: {}", places.join(", "))
}

/// What makes two names the same bucket: the kind of storage, the server or account, the name.
type Bucket<'t> = (&'static str, &'t str, &'t str);

fn bucket_identity<'t>(target: &'t Target, bucket: &'t str) -> Bucket<'t> {
    match &target.provider {
        ProviderSettings::S3 { endpoint, .. } => ("s3", endpoint.as_ref().map_or("", url::Url::as_str), bucket),
        ProviderSettings::Azure { account, .. } => ("azure", account, bucket),
        ProviderSettings::Embedded { .. } => ("embedded", "", bucket),
    }
}

/// A bucket is live or test, never both.
fn check_buckets(file: &File<'_>, targets: &Targets) {
    for (index, found) in targets.found.iter().enumerate() {
        let own = |target: &Target| -> Vec<(&'static str, String, String)> {
            [target.bucket(), target.staging()]
                .map(|bucket| bucket_identity(target, bucket))
                .map(|(kind, server, bucket)| (kind, server.to_owned(), bucket.to_owned()))
                .to_vec()
        };
        let buckets = own(&found.target);
        for other in &targets.found[..index] {
            let shared = own(&other.target).into_iter().any(|bucket| buckets.contains(&bucket));
            if shared && other.target.environment != found.target.environment {
                let problem =
                    format!("'{}' and '{}' share a bucket, and one is live", found.target.name, other.target.name);
                file.mistake(found.at, problem, "give test targets buckets of their own");
            }
        }
    }
}

/// A part of a bucket and who claims it.
struct Place<'a> {
    prefix: Prefix,
    /// The app, or `None` for staging.
    app: Option<&'a str>,
    what: String,
    file: &'a File<'a>,
    at: usize,
}

/// The parts of buckets that are claimed, sorted by bucket and prefix, so that a set of many apps is not compared pair by
/// pair: what lies in a prefix follows it, and what it lies in are its own beginnings.
#[derive(Default)]
struct Places<'a>(BTreeMap<(Bucket<'a>, String), Vec<Place<'a>>>);

impl<'a> Places<'a> {
    fn claim(&mut self, bucket: Bucket<'a>, place: Place<'a>) {
        self.0.entry((bucket, place.prefix.as_str().to_owned())).or_default().push(place);
    }

    /// Whatever lies in this prefix, or it in them.
    fn overlapping(&self, bucket: Bucket<'a>, prefix: &str) -> impl Iterator<Item = &Place<'a>> {
        let ends = std::iter::once(0).chain(prefix.match_indices('/').map(|(slash, _)| slash + 1));
        let outer = ends.filter(|end| *end < prefix.len());
        let outer = outer.filter_map(move |end| self.0.get(&(bucket, prefix[..end].to_owned())));
        let inner = self.0.range((bucket, prefix.to_owned())..);
        let inner = inner.take_while(move |((other, inner), _)| *other == bucket && inner.starts_with(prefix));
        outer.chain(inner.map(|(_, places)| places)).flatten()
    }
}

/// No two apps, and no app and staging, claim parts of a bucket that lie in each other.
fn check_places(targets_file: &File<'_>, targets: &Targets, apps: &[(&File<'_>, Draft)]) {
    let mut places = Places::default();
    for found in &targets.found {
        let target = &found.target;
        let place = Place {
            prefix: target.staging_prefix.clone(),
            app: None,
            what: format!("the staging prefix of target '{}'", target.name),
            file: targets_file,
            at: found.staging_at,
        };
        places.claim(bucket_identity(target, target.staging()), place);
    }
    for (file, app) in apps {
        let Some(prefix) = &app.prefix else { continue };
        for name in [&app.target, &app.test_target].into_iter().flatten() {
            let Some(target) = targets.get(&name.value) else { continue };
            let bucket = bucket_identity(target, target.bucket());
            let place = Place {
                prefix: prefix.value.fixed_part(),
                app: Some(app.app.as_str()),
                what: format!("the prefix of app '{}'", app.app),
                file,
                at: prefix.at,
            };
            let overlaps = places.overlapping(bucket, place.prefix.as_str());
            for other in overlaps.filter(|other| other.app != place.app) {
                let (line, _) = other.file.place(other.at);
                let problem = format!(
                    "the prefix '{}' overlaps {} ('{}', {}:{line})",
                    place.prefix, other.what, other.prefix, other.file.name
                );
                file.mistake(
                    place.at,
                    problem,
                    "choose a prefix that no other app and no staging area uses, for example the app's name",
                );
            }
            places.claim(bucket, place);
        }
    }
}
