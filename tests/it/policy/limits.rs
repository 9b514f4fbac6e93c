//! Rate limits in the policy files: what holds where, from the usual values to an owner's.

use super::{base, load};
use vestibule::domain::limits::{LimitScope, RateLimits, Rates};
use vestibule::policy::PolicySet;

fn limits(set: &PolicySet, app: &str) -> RateLimits {
    (**set.limits_of(&app.parse().unwrap())).clone()
}

#[test]
fn a_manifest_goes_before_the_table_for_all_and_that_before_the_usual_values() {
    let set = load(&base());
    let menus = limits(&set, "menus");
    assert_eq!(*menus.of(LimitScope::Workflow), Rates([Some(10), Some(2000), Some(5000)]));
    assert_eq!(*menus.of(LimitScope::App), Rates([None, Some(3000), None]));
    assert_eq!(*menus.of(LimitScope::Owner), Rates([None, None, Some(9000)]));
    assert_eq!(menus.same_request(), 20);
    let forms = limits(&set, "forms");
    assert_eq!(*forms.of(LimitScope::Workflow), Rates([Some(5), Some(2000), Some(5000)]));
    assert!(forms.of(LimitScope::App).is_empty() && forms.of(LimitScope::Owner).is_empty(), "another owner");
    assert_eq!(forms.same_request(), 40);
}

#[test]
fn nobody_is_without_limits() {
    let mut files = base();
    files.remove("limits.toml");
    let set = load(&files);
    assert_eq!(limits(&set, "forms"), RateLimits::default());
    assert_eq!(*limits(&set, "menus").of(LimitScope::Workflow), Rates([Some(10), Some(1000), Some(5000)]));
    assert_eq!(limits(&set, "nobody-registered-this"), RateLimits::default());
    let set = load(&base());
    assert_eq!(*limits(&set, "nobody").of(LimitScope::Workflow), Rates([Some(5), Some(2000), Some(5000)]));
}
