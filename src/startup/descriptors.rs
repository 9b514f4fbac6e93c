//! How many files this process may have open, and so how many connections its listeners may take.
//!
//! A connection is a descriptor. Were they all taken by clients, the next call to the database, the scanner or the storage
//! would fail; so some are kept back, and a listener takes fewer connections where the limit is low.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back for the database, the scanner, the storage, spooled archives and logs.
const RESERVE: usize = 1024;

/// Raises the soft limit to the hard one; how many connections that leaves to the listeners together.
pub(super) fn for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current
        }
    };
    let files = current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    files.saturating_sub(RESERVE).max(files / 2)
}

/// What each listener may take of what is there: what it was set to, or its share of less.
pub(super) fn share(public: usize, admin: usize, there: usize) -> (usize, usize) {
    if public.saturating_add(admin) <= there {
        return (public, admin);
    }
    let admin = admin.min(there / 10).max(1);
    let public = public.min(there.saturating_sub(admin)).max(1);
    tracing::warn!(
        connections = public,
        "the limit of open files allows fewer connections than public.max_connections: raise LimitNOFILE"
    );
    (public, admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_take_what_the_limit_leaves_and_both_take_some() {
        assert_eq!(share(12_000, 1000, 64_000), (12_000, 1000));
        assert_eq!(share(12_000, 1000, 5000), (4500, 500));
        assert_eq!(share(12_000, 1000, 5), (4, 1));
        assert!(for_connections() > 0);
    }
}
