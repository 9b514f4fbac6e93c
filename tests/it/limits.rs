//! Rate limits: never more than the limit in any aligned window, and the whole of it, under any concurrency.
//!
//! What both ways of counting need stands here; [`local`] is about counters of this process, [`redis`] about those that nodes
//! share.

mod local;
mod redis;
pub mod server;

use std::sync::Arc;

use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::ids::{AppName, OwnerName, WorkflowName};
use vestibule::domain::limits::{RateLimits, Rates};
use vestibule::limits::{Ask, Away, Limiter, SameRequest, Standing, Verdict};

/// Who asks, and what it is allowed.
struct Caller {
    app: AppName,
    workflow: WorkflowName,
    owner: OwnerName,
    limits: Arc<RateLimits>,
    body: Option<SameRequest>,
}

const NONE: Rates = Rates([None; 3]);

/// Limits far above what a test asks for, except these.
fn workflow(rates: [Option<u32>; 3]) -> Arc<RateLimits> {
    limits(Rates(rates), NONE, NONE)
}

fn limits(workflow: Rates, app: Rates, owner: Rates) -> Arc<RateLimits> {
    Arc::new(RateLimits::new(workflow, app, owner, 1_000_000))
}

impl Caller {
    fn new(app: &str, workflow: &str, limits: &Arc<RateLimits>) -> Self {
        let (app, workflow) = (app.parse().unwrap(), workflow.parse().unwrap());
        Self { app, workflow, owner: "marketing".parse().unwrap(), limits: limits.clone(), body: None }
    }

    fn sending(mut self, body: &str) -> Self {
        self.body = Some(SameRequest::of(&Sha256Digest::of(body.as_bytes())));
        self
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            app: &self.app,
            workflow: &self.workflow,
            owner: Some(&self.owner),
            limits: &self.limits,
            same: self.body,
        }
    }

    async fn take(&self, limiter: &Limiter) -> Result<Verdict, Away> {
        limiter.take(&self.ask()).await
    }

    /// Whether one more request is admitted.
    async fn admitted(&self, limiter: &Limiter) -> bool {
        matches!(self.take(limiter).await, Ok(Verdict::Admitted(_)))
    }

    /// How many of so many are admitted, one after the other.
    async fn admitted_of(&self, count: usize, limiter: &Limiter) -> usize {
        let mut admitted = 0;
        for _ in 0..count {
            admitted += usize::from(self.admitted(limiter).await);
        }
        admitted
    }

    /// The name of the quota that refuses, and the seconds that it says to wait.
    async fn refused(&self, limiter: &Limiter) -> (&'static str, u32) {
        match self.take(limiter).await {
            Ok(Verdict::Refused(_, met)) => (met.quota.name(), met.retry_after),
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// What is left of each limit, by name.
fn left(standing: &Standing) -> Vec<u32> {
    standing.each().map(|left| left.remaining).collect()
}

/// Ten thousand requests of four workflows of two apps at once, spread over these limiters, which share their counts
/// where there are several. Each scope has a limit that is met, and each is used up to the last.
async fn ten_thousand_at_once(limiters: Vec<Arc<Limiter>>, prefix: &str) {
    let name = |name: &str| format!("{prefix}{name}");
    // Two workflows of the first app meet their own limit, the app's others the app's, and the second app the owner's.
    let small =
        limits(Rates([None, None, Some(400)]), Rates([None, None, Some(1000)]), Rates([None, None, Some(1500)]));
    let wide =
        limits(Rates([None, None, Some(9000)]), Rates([None, None, Some(1000)]), Rates([None, None, Some(1500)]));
    let kinds = [("one", "a", &small), ("one", "b", &small), ("one", "c", &wide), ("two", "d", &wide)];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000_usize {
        let limiter = limiters[number % limiters.len()].clone();
        let (app, workflow, limits) = kinds[number / 7 % kinds.len()];
        let mut caller = Caller::new(&name(app), workflow, limits);
        caller.owner = name("owner").parse().unwrap();
        tasks.spawn(async move {
            let admitted = caller.admitted(&limiter).await;
            (caller.app.to_string(), caller.workflow.to_string(), admitted)
        });
    }
    let mut counts = std::collections::BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (app, workflow, admitted) = done.unwrap();
        if admitted {
            *counts.entry((app, workflow)).or_insert(0_u32) += 1;
        }
    }
    let of = |app: &str, workflow: &str| counts.get(&(name(app), workflow.to_owned())).copied().unwrap_or_default();
    let one = of("one", "a") + of("one", "b") + of("one", "c");
    assert!(of("one", "a") <= 400 && of("one", "b") <= 400, "{counts:?}");
    assert_eq!(one + of("two", "d"), 1500, "the owner's limit, to the last: {counts:?}");
    assert!(one <= 1000 && of("two", "d") <= 1000, "{counts:?}");
}
