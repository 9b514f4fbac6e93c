//! Whether a condition can hold inside its manifest: one that never can is a slip, and would only refuse.

use crate::domain::filetype::{extension_fits, known_extensions};
use crate::domain::ids::RoleName;
use crate::domain::media::MediaType;
use crate::domain::principal::Environment;

use super::super::classes::{Classes, Classification};
use super::super::manifest_file::Draft;
use super::super::mistake::one_of;
use super::super::reader::{At, File};
use super::super::units::show_size;
use super::{Condition, Field, Term, Test};

/// Reports every word that no upload of the app can have, and every condition that no upload can meet.
pub(in crate::policy) fn check(file: &File<'_>, app: &Draft, classes: &Classes) {
    for condition in &app.conditions {
        let fits = condition.terms.iter().filter(|term| !check_term(file, term, app, classes)).count() == 0;
        if fits {
            check_whole(file, condition, app, classes);
        }
    }
}

fn check_term(file: &File<'_>, term: &Term, app: &Draft, classes: &Classes) -> bool {
    match &term.test {
        Test::Size(..) => true,
        Test::Under(prefix, at) => {
            let Some(home) = app.prefix.as_ref().map(|prefix| prefix.value.fixed_part()) else { return true };
            if home.contains(prefix) || prefix.contains(&home) {
                return true;
            }
            let problem = format!("'{}' can never hold: the app's files lie under '/{home}'", term.text);
            file.mistake(*at, problem, format!("write a path under '/{home}'"));
            false
        }
        Test::Word { field, words, .. } => {
            let Some(names) = possible(*field, app, classes) else { return true };
            let mut good = true;
            for (word, at) in words {
                if names.iter().any(|name| name == word) {
                    continue;
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let problem = format!("'{}' in a condition is never '{word}' in this app", field.as_str());
                file.mistake(*at, problem, one_of("its values", word, &names));
                good = false;
            }
            good
        }
    }
}

/// The words that the field of an upload can have; `None` where any can be, or where that could not be read.
fn possible(field: Field, app: &Draft, classes: &Classes) -> Option<Vec<String>> {
    fn texts<T: ToString>(list: &Option<At<Vec<At<T>>>>) -> Option<Vec<String>> {
        Some(list.as_ref()?.value.iter().map(|item| item.value.to_string()).collect())
    }
    match field {
        Field::ContentType => texts(&app.types),
        Field::Classification => texts(&app.classifications),
        Field::Extension => match &app.extensions {
            Some(own) => Some(own.clone()),
            None => {
                let types = &app.types.as_ref()?.value;
                let known: Vec<_> = types.iter().map(|media| known_extensions(&media.value)).collect();
                // A type that the table does not know fits every extension.
                (!known.iter().any(|list| list.is_empty()))
                    .then(|| known.into_iter().flatten().map(|extension| (*extension).to_owned()).collect())
            }
        },
        Field::Method => Some(match &app.methods {
            Some(list) => list.value.iter().map(|method| method.value.as_str().to_owned()).collect(),
            None => vec!["PUT".to_owned()],
        }),
        Field::Environment => {
            let own = app.environment.as_str().to_owned();
            let test = app.test_target.is_some() && app.environment != Environment::Test;
            Some(std::iter::once(own).chain(test.then(|| Environment::Test.as_str().to_owned())).collect())
        }
        Field::Role => classes.complete.then(|| classes.roles.keys().map(RoleName::to_string).collect()),
        Field::Workflow => None,
    }
}

/// One type, class and size that the manifest and the class allow meets all terms together.
fn check_whole(file: &File<'_>, condition: &Condition, app: &Draft, classes: &Classes) {
    let (Some(types), Some(max_size), Some(listed)) = (&app.types, &app.max_size, &app.classifications) else { return };
    let known: Vec<&Classification> =
        listed.value.iter().filter_map(|class| classes.classes.get(&class.value)).collect();
    if known.len() != listed.value.len() {
        return;
    }
    let least = u64::from(!app.allow_empty);
    let sizes = condition.terms.iter().filter_map(|term| match term.test {
        Test::Size(least, most) => Some((least, most)),
        _ => None,
    });
    let (least, most) = sizes.fold((least, u64::MAX), |(least, most), (from, to)| (least.max(from), most.min(to)));
    let allows = |field: Field, word: &str| {
        condition.terms.iter().all(|term| match &term.test {
            Test::Word { field: own, among, words } if *own == field => {
                words.iter().any(|(other, _)| other == word) == *among
            }
            _ => true,
        })
    };
    let mut largest = None;
    for media in types.value.iter().map(|media| &media.value).filter(|m| allows(Field::ContentType, m.as_str())) {
        if !has_extension(app, media, |extension| allows(Field::Extension, extension)) {
            continue;
        }
        let fitting = known.iter().filter(|class| allows(Field::Classification, class.name.as_str()));
        for class in fitting.filter(|class| class.takes(media)) {
            let own = app.max_size_per_type.iter().find(|(own, _)| own == media);
            let most = own.map_or(max_size.value, |(_, limit)| *limit).min(class.max_size.unwrap_or(u64::MAX));
            largest = largest.max(Some(most));
        }
    }
    let methods = possible(Field::Method, app, classes).unwrap_or_default();
    let environments = possible(Field::Environment, app, classes).unwrap_or_default();
    let (problem, remedy) = match largest {
        Some(largest) if least > largest.min(most) => {
            let problem = format!(
                "no upload of this app can meet '{}': its files have at most {}",
                condition.text,
                show_size(largest)
            );
            (problem, "correct the sizes, or remove the condition")
        }
        Some(_)
            if methods.iter().any(|method| allows(Field::Method, method))
                && environments.iter().any(|environment| allows(Field::Environment, environment)) =>
        {
            return;
        }
        _ => {
            let problem = format!("no upload of this app can meet '{}': its terms exclude each other", condition.text);
            (problem, "take the terms apart into several conditions, or remove one")
        }
    };
    file.mistake(condition.at, problem, remedy);
}

/// Whether a file name of this type can have an extension that fits.
fn has_extension(app: &Draft, media: &MediaType, fits: impl Fn(&str) -> bool) -> bool {
    match (&app.extensions, known_extensions(media)) {
        (Some(own), _) => own.iter().any(|extension| extension_fits(extension, media) && fits(extension)),
        (None, []) => true,
        // A name without an extension claims nothing.
        (None, known) => known.iter().any(|extension| fits(extension)) || fits(""),
    }
}
