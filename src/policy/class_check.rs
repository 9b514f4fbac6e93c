//! Whether every manifest stays inside its classes: it can only narrow what they allow, and regulated data has its place.
//!
//! A manifest that is wider than each of its classes says something that never holds, and whoever wrote it believes in it.
//! Where only some class is narrower, the narrower of both holds at each request.

use std::time::Duration;

use crate::domain::ids::OwnerName;

use super::classes::Classification;
use super::manifest_file::Draft;
use super::possession::{KEY, PossessionDemand};
use super::reader::{At, File};
use super::targets::Targets;
use super::units::{show_duration, show_size};

/// Checks an app against the classes that it lists. `known` are those, all of them; `region` is an owner's.
pub(super) fn check<'o>(
    file: &File<'_>,
    app: &Draft,
    targets: &Targets,
    known: &[&Classification],
    region: impl Fn(&OwnerName) -> Option<&'o str>,
) {
    check_narrower(file, app, known);
    check_proof(file, app, known);
    let Some(listed) = &app.classifications else { return };
    for (class, listed) in known.iter().zip(&listed.value).filter(|(class, _)| class.regulated) {
        check_regulated(file, app, targets, class, listed.at, &region);
    }
}

fn check_narrower(file: &File<'_>, app: &Draft, known: &[&Classification]) {
    /// The widest that any class allows; `None` where some class has no limit.
    fn widest<T: Ord>(known: &[&Classification], of: impl Fn(&Classification) -> Option<T>) -> Option<T> {
        let limits: Option<Vec<T>> = known.iter().map(|class| of(class)).collect();
        limits?.into_iter().max()
    }
    let wider = |at: usize, key: &str, is: String, most: String, class_key: &str| {
        let problem = format!("'{key}' is {is}, and no class of this app allows more than {most}");
        let remedy = format!("write at most \"{most}\"; the classes' '{class_key}' in classifications.toml decides");
        file.mistake(at, problem, remedy);
    };
    if let (Some(size), Some(most)) = (&app.max_size, widest(known, |class| class.max_size))
        && size.value > most
    {
        wider(size.at, "max_size", show_size(size.value), show_size(most), "max_size");
    }
    let life = |key, class_key, written: &Option<At<Duration>>, most: Option<Duration>| {
        if let (Some(ttl), Some(most)) = (written, most)
            && ttl.value > most
        {
            wider(ttl.at, key, show_duration(ttl.value), show_duration(most), class_key);
        }
    };
    life("upload_ttl", "max_upload_ttl", &app.upload_ttl, widest(known, |class| class.max_upload_ttl));
    life("download_ttl", "max_download_ttl", &app.download_ttl, widest(known, |class| class.max_download_ttl));
    for media in app.types.iter().flat_map(|types| &types.value) {
        if known.iter().all(|class| !class.takes(&media.value)) {
            let problem = format!("no class of this app may have the type '{}'", media.value);
            file.mistake(media.at, problem, "remove it, or add it to the 'types' of a class in classifications.toml");
        }
    }
}

/// A token is bound to one key, so that what app and class demand must be possible together.
fn check_proof(file: &File<'_>, app: &Draft, known: &[&Classification]) {
    let Some(own) = &app.proof_of_possession else { return };
    let class = known.iter().find_map(|class| {
        let demand = class.proof_of_possession?;
        (demand != own.value && demand != PossessionDemand::Any && own.value != PossessionDemand::Any)
            .then_some((&class.name, demand))
    });
    if let Some((name, demand)) = class {
        let (own_word, word) = (own.value.as_str(), demand.as_str());
        let problem =
            format!("'{KEY}' is \"{own_word}\", and the class '{name}' asks for \"{word}\"; no token has both");
        file.mistake(own.at, problem, format!("write \"{word}\", or give the class an app of its own"));
    }
}

fn check_regulated<'o>(
    file: &File<'_>,
    app: &Draft,
    targets: &Targets,
    class: &Classification,
    at: usize,
    region: impl Fn(&OwnerName) -> Option<&'o str>,
) {
    let name = &class.name;
    if app.workflows.values().all(|rules| !rules.classifications.contains(name)) {
        let problem = format!("'{name}' is regulated, and no workflow of this app is authorised for it");
        file.mistake(at, problem, format!("add [workflows.<name>] with classifications = [\"{name}\"]"));
    }
    let Some(owner) = app.owner.as_ref().map(|owner| &owner.value) else { return };
    let Some(region) = region(owner) else {
        let problem = format!("'{name}' is regulated, and the owner '{owner}' of this app has no region");
        file.mistake(at, problem, format!("add [{owner}] with for example region = \"eu\" to owners.toml"));
        return;
    };
    if !class.may_reside_in(region) {
        let problem = format!("'{name}' data may not lie in '{region}', the region of this app's owner '{owner}'");
        file.mistake(at, problem, format!("choose a class that may lie there: {}", class.residency.join(", ")));
        return;
    }
    for (key, target) in [("target", &app.target), ("test_target", &app.test_target)] {
        let Some(target) = target else { continue };
        let Some(found) = targets.get(&target.value).filter(|found| *found.residency != *region) else { continue };
        let problem = format!(
            "'{name}' is regulated and must lie in '{region}', the region of '{owner}'; '{key}' '{}' lies in '{}'",
            found.name, found.residency
        );
        file.mistake(target.at, problem, format!("choose a target in '{region}', or give the class an app of its own"));
    }
}
