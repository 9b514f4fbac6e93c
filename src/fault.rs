//! Places at which a test may stop the process, to kill it there.
//!
//! Without the feature `fault-points` this is nothing at all. With it, the process named by `VESTIBULE_FAULT` writes the
//! file `VESTIBULE_FAULT_MARKER` and stands still at that point, until somebody ends it with SIGKILL.

/// A named instant between two steps.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub async fn point(_name: &'static str) {}

/// A named instant between two steps.
#[cfg(feature = "fault-points")]
pub async fn point(name: &'static str) {
    if std::env::var("VESTIBULE_FAULT").as_deref() != Ok(name) {
        return;
    }
    if let Some(marker) = std::env::var_os("VESTIBULE_FAULT_MARKER")
        && let Err(error) = std::fs::write(marker, name)
    {
        tracing::error!(%error, "cannot write the fault marker");
    }
    std::future::pending::<()>().await;
}
