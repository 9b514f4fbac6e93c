//! Owners and quotas in the policy files: what holds where, and which line a rule names.

use super::{base, load};
use vestibule::domain::quota::{QuotaKind, Quotas};
use vestibule::policy::quotas;

#[test]
fn an_owner_has_a_region_and_quotas_and_each_of_them_may_be_left_out() {
    let mut files = base();
    let set = load(&files);
    let owner = set.owner(&"marketing".parse().unwrap()).unwrap();
    assert_eq!(owner.region.as_deref(), Some("eu"));
    assert_eq!(owner.rule(QuotaKind::UploadsHour), "owners.toml:5 quota.uploads_per_hour");
    assert_eq!(owner.region_rule(), "owners.toml:2 region");
    assert!(set.owner(&"clinic".parse().unwrap()).is_none());
    let forms = set.app(&"forms".parse().unwrap()).unwrap();
    assert_eq!(quotas(&set, forms).owner, Quotas::default());

    files.insert("owners.toml".into(), "[clinic]\n".into());
    let set = load(&files);
    let owner = set.owner(&"clinic".parse().unwrap()).unwrap();
    assert_eq!((owner.region.as_deref(), owner.quota), (None, Quotas::default()));
    files.remove("owners.toml");
    assert_eq!(load(&files).owners().len(), 0);
}

#[test]
fn a_manifest_bounds_what_is_stored_and_may_bound_windows() {
    let mut files = base();
    let more =
        "objects = 1000\nbytes_per_day = \"200 MiB\"\nuploads_per_hour = 50\ndownload_bytes_per_month = \"9 GiB\"";
    let text = files["apps/menus.toml"].replace("objects = 1000", more);
    files.insert("apps/menus.toml".into(), text);
    let set = load(&files);
    let menus = set.app(&"menus".parse().unwrap()).unwrap();
    let wanted = [Some(1 << 30), Some(1000), Some(200 << 20), Some(50), Some(9 << 30)];
    assert_eq!(menus.quota, Quotas(wanted));
    assert_eq!(menus.rule(QuotaKind::DownloadBytesMonth.path()), "apps/menus.toml:22 quota.download_bytes_per_month");
}
