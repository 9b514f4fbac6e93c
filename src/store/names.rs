//! Values that both databases keep as their names, read back.

use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::principal::Environment;

/// An environment by its name.
pub(super) fn environment(name: &str) -> Option<Environment> {
    [Environment::Live, Environment::Test].into_iter().find(|environment| environment.as_str() == name)
}

/// An upload method by its name.
pub(super) fn method(name: &str) -> Option<UploadMethod> {
    [UploadMethod::Put, UploadMethod::Post].into_iter().find(|method| method.as_str() == name)
}

/// A disposition by its name.
pub(super) fn disposition(name: &str) -> Option<Disposition> {
    [Disposition::Attachment, Disposition::Inline].into_iter().find(|disposition| disposition.as_str() == name)
}
