//! Four eyes: how many reviewers must agree before a held object is released.
//!
//! A class and a manifest may each ask for more than one (`release_approvals`); the larger number holds. Deleting needs no
//! second opinion: it shows nobody anything.

use toml::de::DeValue;

use crate::domain::ids::{AppName, ClassName};

use super::PolicySet;
use super::reader::{Wrong, count};

/// The key in a class and in a manifest.
pub(super) const KEY: &str = "release_approvals";
/// Most reviewers that can be asked for: more would mean that nothing is ever released.
const MOST: u64 = 5;
/// Where nobody can say any more what the object's app or class asks for.
const UNKNOWN: u8 = 2;

/// How many reviewers, and which rule asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// At least 1.
    pub needed: u8,
    /// For example `classifications.toml:32 release_approvals`.
    pub rule: String,
}

/// How many different reviewers must agree before an object of this app and class is released.
pub fn release_approvals(set: &PolicySet, app: &AppName, class: &ClassName) -> Approvals {
    let (class, app) = (set.class(class), set.app(app));
    let of_class = class.map_or(UNKNOWN, |class| class.release_approvals);
    let of_app = app.map_or(UNKNOWN, |app| app.release_approvals);
    let rule = match (class, app) {
        (Some(class), _) if of_class >= of_app => class.lines.rule(KEY),
        (_, Some(app)) => app.rule(KEY),
        _ => format!("{KEY}: its app or class is gone"),
    };
    Approvals { needed: of_class.max(of_app), rule }
}

/// A number of reviewers, from 1 to 5.
pub(super) fn approvals(value: &DeValue<'_>) -> Result<u8, Wrong> {
    let number = count(value)?;
    u8::try_from(number).ok().filter(|_| number <= MOST).ok_or_else(|| Wrong {
        problem: format!("cannot be {number}"),
        remedy: format!("write how many different reviewers must agree, from 1 to {MOST}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(class: &str, app: &str) -> BTreeMap<String, String> {
        let read =
            |name: &str| std::fs::read_to_string(format!("{}/policies/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut files: BTreeMap<String, String> =
            ["targets.toml", "classifications.toml", "owners.toml", "base.cedar", "apps/clinic-forms.toml"]
                .map(|name| (name.to_owned(), read(name)))
                .into();
        for own in ["apps/where2eat.toml", "apps/finance-invoices.toml"] {
            files.insert(own.to_owned(), read(own));
        }
        files
            .entry("classifications.toml".into())
            .and_modify(|text| *text = text.replace("release_approvals = 2", class));
        files
            .entry("apps/clinic-forms.toml".into())
            .and_modify(|text| *text = text.replacen("prefix =", &format!("{app}\nprefix ="), 1));
        files
    }

    fn asked(class: &str, app: &str) -> Approvals {
        let set = PolicySet::from_files(&files(class, app)).unwrap();
        release_approvals(&set, &"clinic-forms".parse().unwrap(), &"regulated".parse().unwrap())
    }

    #[test]
    fn the_larger_number_of_class_and_app_holds() {
        assert_eq!(asked("release_approvals = 1", "").needed, 1);
        let class = asked("release_approvals = 3", "release_approvals = 2");
        assert!(class.needed == 3 && class.rule.starts_with("classifications.toml:"), "{class:?}");
        let app = asked("release_approvals = 2", "release_approvals = 4");
        assert!(app.needed == 4 && app.rule.starts_with("apps/clinic-forms.toml:"), "{app:?}");
    }

    #[test]
    fn what_is_no_number_of_reviewers_is_a_mistake() {
        for number in ["0", "6", "\"two\"", "1.5"] {
            assert!(PolicySet::from_files(&files("", &format!("release_approvals = {number}"))).is_err(), "{number}");
        }
    }
}
