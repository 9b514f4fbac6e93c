//! P4 as a property: whatever mix of acts comes at once, on however many nodes, no quota is exceeded at any commit and no
//! count is lost.
//!
//! Two apps of one owner, six tasks, and somebody who looks all the time: in every snapshot that he sees, each count is
//! what the objects add up to and at most its quota. The clock moves between acts, over hours, days and months; a request
//! may reach the database up to half an hour late.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::RwLock;
use vestibule::domain::ids::{AppName, OwnerName};
use vestibule::domain::life::Life;
use vestibule::domain::object::Object;
use vestibule::domain::quota::{QuotaKind, QuotaLimits, QuotaMet, QuotaWindow, Quotas};
use vestibule::domain::refusal::Reason;
use vestibule::store::{AdvanceOutcome, DownloadOutcome, Holder, IssueOutcome, UsageQuery};

use super::{Bench, stored};

#[derive(Clone, Debug)]
enum Act {
    Issue {
        app: usize,
        size: u64,
        late: bool,
    },
    Expire(usize),
    Reject(usize),
    /// Becomes visible with so many bytes fewer than were asked for.
    Settle(usize, u64),
    Delete(usize),
    Download(usize),
    /// Minutes pass.
    Pass(u64),
}

#[derive(Clone, Debug)]
struct Plan {
    limits: [QuotaLimits; 2],
    tasks: Vec<Vec<Act>>,
}

fn quotas(factor: u64) -> impl Strategy<Value = Quotas> {
    let bytes = || proptest::option::of((40..300_u64).prop_map(move |limit| limit * factor));
    let count = || proptest::option::of((1..8_u64).prop_map(move |limit| limit * factor));
    (bytes(), count(), bytes(), count(), bytes()).prop_map(|(a, b, c, d, e)| Quotas([a, b, c, d, e]))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..2_usize, 1..60_u64, any::<bool>()).prop_map(|(app, size, late)| Act::Issue { app, size, late }),
        2 => any::<usize>().prop_map(Act::Expire),
        2 => any::<usize>().prop_map(Act::Reject),
        3 => (any::<usize>(), 0..9_u64).prop_map(|(at, less)| Act::Settle(at, less)),
        2 => any::<usize>().prop_map(Act::Delete),
        4 => any::<usize>().prop_map(Act::Download),
        1 => prop_oneof![4 => Just(20), 1 => Just(300), 1 => Just(9000)].prop_map(Act::Pass),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let tasks = prop::collection::vec(prop::collection::vec(act(), 1..14), 6);
    ([quotas(1), quotas(1)], quotas(2), tasks).prop_map(|(apps, owner, tasks)| {
        let limits = apps.map(|app| QuotaLimits { app, owner });
        Plan { limits, tasks }
    })
}

/// Runs so many mixes, each with apps and an owner of its own.
pub(crate) fn mix(nodes: &[Arc<Bench>], cases: u32) {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let run = |plan: Plan| {
        let number = RUN.fetch_add(1, Ordering::SeqCst);
        let scene = Arc::new(Scene {
            nodes: nodes.to_vec(),
            limits: plan.limits,
            apps: [0, 1].map(|at| format!("app-{number}-{at}").parse().unwrap()),
            owner: format!("owner-{number}").parse().unwrap(),
            objects: Mutex::default(),
            downloaded: Mutex::default(),
            time: RwLock::default(),
            done: AtomicBool::new(false),
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(scene.run(plan.tasks)));
        Ok(())
    };
    runner.run(&plan(), run).unwrap();
}

struct Scene {
    nodes: Vec<Arc<Bench>>,
    limits: [QuotaLimits; 2],
    apps: [AppName; 2],
    owner: OwnerName,
    objects: Mutex<Vec<Object>>,
    /// The app, the month and the bytes of every download that was issued.
    downloaded: Mutex<Vec<(usize, i64, u64)>>,
    /// Held by every act, so that time passes between them only.
    time: RwLock<()>,
    done: AtomicBool,
}

impl Scene {
    async fn run(self: Arc<Self>, tasks: Vec<Vec<Act>>) {
        let watching = tokio::spawn(Arc::clone(&self).watch());
        let running: Vec<_> = tasks
            .into_iter()
            .enumerate()
            .map(|(at, acts)| {
                let scene = Arc::clone(&self);
                tokio::spawn(async move {
                    let node = scene.nodes[at % scene.nodes.len()].clone();
                    for act in acts {
                        scene.act(&node, act).await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        self.done.store(true, Ordering::SeqCst);
        assert!(watching.await.unwrap() > 0);
        self.look().await;
        self.downloads_are_counted().await;
    }

    async fn watch(self: Arc<Self>) -> usize {
        let mut looks = 0;
        while looks == 0 || !self.done.load(Ordering::SeqCst) {
            let _standing = self.time.read().await;
            self.look().await;
            looks += 1;
        }
        looks
    }

    /// One snapshot: counted right, and within every quota.
    async fn look(&self) {
        let at = self.nodes[0].clock.now();
        let rows = self.nodes[looked_at(&self.nodes)].store.audit_usage(UsageQuery { app: None, at }).await.unwrap();
        for row in rows {
            let limits = match &row.holder {
                Holder::App(app) => match self.apps.iter().position(|own| own == app) {
                    Some(at) => &self.limits[at].app,
                    None => continue,
                },
                Holder::Owner(owner) if *owner == self.owner => &self.limits[0].owner,
                Holder::Owner(_) => continue,
            };
            assert!(row.missing.is_nothing(), "{row:#?}");
            for (kind, limit) in limits.each() {
                let used = row.counted.used(kind, at);
                assert!(used <= limit, "{} {kind:?}: {used} of {limit}", row.holder.name());
            }
        }
    }

    async fn downloads_are_counted(&self) {
        let now = self.nodes[0].clock.now();
        let month = QuotaWindow::Month.number(now);
        let downloaded = self.downloaded.lock().unwrap().clone();
        let sum = |of: &dyn Fn(usize) -> bool| -> u64 {
            downloaded.iter().filter(|(app, own, _)| of(*app) && *own == month).map(|(.., bytes)| bytes).sum()
        };
        for (at, app) in self.apps.iter().enumerate() {
            let used = self.nodes[0].store.usage(app, &self.owner).await.unwrap();
            assert_eq!(used.app.used(QuotaKind::DownloadBytesMonth, now), sum(&|own| own == at));
            assert_eq!(used.owner.used(QuotaKind::DownloadBytesMonth, now), sum(&|_| true));
        }
    }

    async fn act(&self, node: &Bench, act: Act) {
        if let Act::Pass(minutes) = act {
            let _passing = self.time.write().await;
            node.clock.advance(Duration::from_secs(minutes * 60));
            return;
        }
        let _standing = self.time.read().await;
        match act {
            Act::Issue { app, size, late } => self.issue(node, app, size, late).await,
            Act::Expire(at) => _ = self.end(node, at, |life| life.expire().ok()).await,
            Act::Reject(at) => {
                let reject = |life: Life| life.reject(Reason::SizeMismatch, "too long".into()).ok();
                self.end(node, at, reject).await;
            }
            Act::Delete(at) => _ = self.end(node, at, |life| life.delete("not needed".into()).ok()).await,
            Act::Settle(at, less) => self.settle(node, at, less).await,
            Act::Download(at) => self.download(node, at).await,
            Act::Pass(_) => {}
        }
    }

    async fn issue(&self, node: &Bench, app: usize, size: u64, late: bool) {
        let mut object = node.object(self.apps[app].as_str(), size);
        object.owner = self.owner.clone();
        if late {
            object.created_at -= SignedDuration::from_mins(30);
        }
        match node.store.issue_upload(node.issue(&object, self.limits[app])).await.unwrap() {
            IssueOutcome::Issued => self.objects.lock().unwrap().push(object),
            IssueOutcome::QuotaMet(met) => {
                let needed = if met.kind.unit() == "bytes" { size } else { 1 };
                Self::was_needed(&met, needed, object.created_at);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Nobody is refused who would have fitted.
    fn was_needed(met: &QuotaMet, needed: u64, at: Timestamp) {
        assert!(met.used <= met.limit && met.used + needed > met.limit, "{met:?} for {needed}");
        assert!(met.free_at.is_none_or(|free_at| free_at > at), "{met:?} at {at}");
    }

    fn pick(&self, at: usize) -> Option<Object> {
        let objects = self.objects.lock().unwrap();
        (!objects.is_empty()).then(|| objects[at % objects.len()].clone())
    }

    /// Moves an object on, where nobody was faster and its life knows the way.
    async fn step(&self, node: &Bench, object: &Object, to: Option<Life>) -> Option<Object> {
        let to = to?;
        if node.store.advance(node.step(object, to.clone())).await.unwrap() == AdvanceOutcome::Conflict {
            return None;
        }
        let next = Object { life: to, revision: object.revision + 1, ..object.clone() };
        let mut objects = self.objects.lock().unwrap();
        *objects.iter_mut().find(|own| own.id == object.id).unwrap() = next.clone();
        Some(next)
    }

    async fn end(&self, node: &Bench, at: usize, to: impl Fn(Life) -> Option<Life>) -> Option<Object> {
        let object = self.pick(at)?;
        self.step(node, &object, to(object.life.clone())).await
    }

    async fn settle(&self, node: &Bench, at: usize, less: u64) {
        let Some(object) = self.pick(at) else { return };
        let size = object.size;
        let arrived = object.life.clone().arrived(stored(size)).ok();
        let Some(object) = self.step(node, &object, arrived).await else { return };
        let Some(object) = self.step(node, &object, object.life.clone().claim().ok()).await else { return };
        let judged = object.life.clone().judge(node.clean(size)).ok();
        let Some(object) = self.step(node, &object, judged).await else { return };
        self.step(node, &object, object.life.clone().promoted(stored(size.saturating_sub(less)), None).ok()).await;
    }

    async fn download(&self, node: &Bench, at: usize) {
        let Some(object) = self.pick(at) else { return };
        let app = self.apps.iter().position(|own| *own == object.app).unwrap();
        let mut issue = node.linked(&object, [0; 32]).await;
        (issue.link, issue.charge.quota) = (None, self.limits[app]);
        let (now, bytes) = (issue.charge.at, issue.charge.bytes);
        match node.store.issue_download(issue).await.unwrap() {
            DownloadOutcome::Issued => {
                self.downloaded.lock().unwrap().push((app, QuotaWindow::Month.number(now), bytes));
            }
            DownloadOutcome::QuotaMet(met) => Self::was_needed(&met, bytes, now),
            DownloadOutcome::Changed => {}
        }
    }
}

/// Any node sees what all have committed.
fn looked_at(nodes: &[Arc<Bench>]) -> usize {
    nodes.len() - 1
}
