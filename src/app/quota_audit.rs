//! `vestibule quota audit`: the counts against the records, and the records against what the buckets really hold.
//!
//! Looks while the gateway runs: whatever seems wrong is looked at again, record and bytes, before it is a finding. Counts
//! can be repaired; bytes are never touched here. Of bytes that no record explains a person decides, and those in staging
//! are the sweep's.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt};

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::{AppName, ObjectId, TargetName};
use crate::domain::job::JobKind;
use crate::domain::key::{Area, ObjectKey, Prefix};
use crate::domain::life::{Held, Life, State};
use crate::domain::object::Object;
use crate::domain::principal::Operator;
use crate::domain::quota::QuotaKind;
use crate::domain::refusal::Refusal;
use crate::storage::{StorageError, StoredObject};
use crate::store::{Holder, ObjectQuery, RepairUsage, UsageQuery, UsageRow};

use super::{App, ArrivalError, OpenTarget, RequestContext};

/// Keys of a listing, or records, that are looked at before the next are asked for.
const PAGE: usize = 500;
/// Records that are looked up at the same time.
const AT_ONCE: usize = 32;

/// What is to be looked at.
#[derive(Clone, Debug, Default)]
pub struct QuotaAuditQuery {
    /// This app alone; everything where absent.
    pub app: Option<AppName>,
    /// Whether counts that differ are put right.
    pub repair: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct QuotaAudit {
    /// Every app and owner that is counted, or has objects.
    pub usage: Vec<UsageRow>,
    /// Whether the counts that differed were put right.
    pub repaired: bool,
    /// What each target holds, by its name.
    pub buckets: BTreeMap<TargetName, BucketReport>,
}

/// What one target holds.
#[derive(Debug, Default)]
pub struct BucketReport {
    /// Objects that the records call visible.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What differs.
    pub findings: Vec<BucketFinding>,
    /// Why the target could not be looked at, or not to the end.
    pub unreadable: Option<String>,
}

/// A difference between the records and a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketFinding {
    /// Visible, and nothing lies under its key.
    Missing {
        /// The object.
        object: ObjectId,
        /// Its key.
        key: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Visible or held, and other bytes lie under its key than the record says.
    OtherSize {
        /// The object.
        object: ObjectId,
        /// Its key.
        key: String,
        /// Bytes of the record.
        recorded: u64,
        /// Bytes of the bucket.
        found: u64,
    },
    /// Bytes that no record explains.
    Unknown {
        /// Served or staged.
        area: Area,
        /// Their key.
        key: String,
        /// How many.
        size: u64,
    },
}

impl QuotaAudit {
    /// The counts that differ from what the objects add up to.
    pub fn differing(&self) -> impl Iterator<Item = &UsageRow> {
        self.usage.iter().filter(|row| !row.missing.is_nothing())
    }

    /// Whether nothing differs, or no longer.
    pub fn is_good(&self) -> bool {
        let counts = self.repaired || self.differing().next().is_none();
        counts && self.buckets.values().all(|bucket| bucket.findings.is_empty() && bucket.unreadable.is_none())
    }
}

impl App {
    /// Compares counts, records and buckets, and puts the counts right where that is asked for.
    ///
    /// # Errors
    /// The refusal where the database is away.
    pub async fn audit_quotas(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: &QuotaAuditQuery,
    ) -> Result<QuotaAudit, Refusal> {
        let now = self.clock.now();
        let mut entry = context.entry(now, AuditAction::AuditQuota, Outcome::Allowed, 200).by_operator(who);
        entry.app = query.app.clone();
        self.store.audit(entry).await?;
        let usage = self.store.audit_usage(UsageQuery { app: query.app.clone(), at: now }).await?;
        let mut found = QuotaAudit { usage, ..QuotaAudit::default() };
        let rows: Vec<UsageRow> = found.differing().cloned().collect();
        if query.repair && !rows.is_empty() {
            let entry = |row: &UsageRow| {
                let now = self.clock.now();
                let entry = context.entry(now, AuditAction::RepairQuota, Outcome::Allowed, 200).by_operator(who);
                described(entry, row)
            };
            let audit = rows.iter().map(entry).collect();
            self.store.repair_usage(RepairUsage { rows, audit }).await?;
            // Whoever repaired the same at the same moment added it too; that shows as the opposite, and the next run puts
            // it right.
            let again = self.store.audit_usage(UsageQuery { app: query.app.clone(), at: self.clock.now() }).await?;
            found.repaired = again.iter().all(|row| row.missing.is_nothing());
            if !found.repaired {
                found.usage = again;
            }
        }
        self.audit_buckets(query, &mut found).await?;
        Ok(found)
    }

    async fn audit_buckets(&self, query: &QuotaAuditQuery, found: &mut QuotaAudit) -> Result<(), Refusal> {
        let wanted = |app: &AppName| query.app.as_ref().is_none_or(|only| only == app);
        let (policies, targets) = (self.policies.current(), self.targets.all());
        let mut seen = HashSet::new();
        for open in &targets {
            let name = &open.target.name;
            let apps = policies.apps().filter(|app| wanted(&app.app));
            let apps =
                apps.filter(|app| [&app.live_target, &app.test_target].into_iter().flatten().any(|own| own == name));
            let mut places: Vec<_> = apps.map(|app| (Area::Served, app.prefix.fixed_part())).collect();
            places.push((Area::Staging, open.target.staging_prefix.clone()));
            let report = found.buckets.entry(name.clone()).or_default();
            for (area, prefix) in places {
                match self.list_place(open, area, &prefix, query.app.as_ref(), &mut seen, report).await {
                    Err(ArrivalError::Store(error)) => return Err(error.into()),
                    Err(ArrivalError::Storage(error)) => report.unreadable = Some(error.to_string()),
                    Ok(()) => {}
                }
            }
        }
        let registered = policies.apps().map(|app| app.app.clone());
        let counted = found.usage.iter().filter_map(|row| match &row.holder {
            Holder::App(app) => Some(app.clone()),
            Holder::Owner(_) => None,
        });
        let apps: BTreeSet<AppName> = registered.chain(counted).filter(|app| wanted(app)).collect();
        for app in apps {
            self.visible_of(&app, &seen, found).await?;
        }
        Ok(())
    }

    /// Looks at everything that lies under a prefix, and notes which visible objects are there.
    async fn list_place(
        &self,
        open: &OpenTarget,
        area: Area,
        prefix: &Prefix,
        only: Option<&AppName>,
        seen: &mut HashSet<ObjectId>,
        report: &mut BucketReport,
    ) -> Result<(), ArrivalError> {
        let mut cursor = None;
        loop {
            let page = open.store.list(area, prefix, cursor.as_deref(), PAGE).await?;
            let judged = futures::stream::iter(page.objects)
                .map(|(path, stored)| self.judge(open, area, path, stored, only))
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<_>>()
                .await?;
            for judged in judged {
                match judged {
                    Judged::Visible(id, finding) => {
                        seen.insert(id);
                        report.findings.extend(finding);
                    }
                    Judged::Finding(finding) => report.findings.push(finding),
                    Judged::Explained => {}
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// What a record says about bytes that a listing showed.
    async fn judge(
        &self,
        open: &OpenTarget,
        area: Area,
        path: String,
        stored: StoredObject,
        only: Option<&AppName>,
    ) -> Result<Judged, ArrivalError> {
        let key = ObjectKey::parse(area, &path).ok();
        let object = match key.as_ref().and_then(ObjectKey::object_id) {
            Some(id) => self.store.object(id).await?,
            None => None,
        };
        let own = |object: &Object| match area {
            Area::Served => object.keys.served.path() == path,
            Area::Staging => object.keys.staging.path() == path,
        };
        let object = object.filter(|object| object.target == open.target.name && own(object));
        if let (Some(only), Some(object)) = (only, &object)
            && object.app != *only
        {
            return Ok(Judged::Explained);
        }
        // Staging is shared: whose such bytes are is not known, and they are told when everything is looked at.
        if only.is_some() && object.is_none() && area == Area::Staging {
            return Ok(Judged::Explained);
        }
        if let Some(object) = &object {
            let recorded = match (&object.life, area) {
                (Life::Visible { served, .. }, Area::Served) => Some(served.size),
                (Life::Contained { held: Held::Served { bytes, .. }, .. }, Area::Served) => Some(bytes.size),
                // A copy may have been under way when it was contained.
                (Life::Contained { held: Held::Staged(_), .. }, Area::Served) => return Ok(Judged::Explained),
                (life, Area::Staging) if life.state().is_held() && life.staged().is_some() => {
                    life.staged().map(|staged| staged.size)
                }
                (Life::Promoting { .. }, _) => return Ok(Judged::Explained),
                (Life::Issued | Life::Uploaded { .. } | Life::Scanning { .. }, Area::Staging) => {
                    return Ok(Judged::Explained);
                }
                _ => None,
            };
            if let Some(recorded) = recorded {
                let (id, found) = (object.id, stored.bytes.size);
                let finding = BucketFinding::OtherSize { object: id, key: path, recorded, found };
                let finding = (recorded != found).then_some(finding);
                return Ok(match (area, finding) {
                    (Area::Served, finding) => Judged::Visible(id, finding),
                    (Area::Staging, Some(finding)) => Judged::Finding(finding),
                    (Area::Staging, None) => Judged::Explained,
                });
            }
            for kind in [JobKind::RemoveStaged, JobKind::Purge] {
                if self.store.has_job(object.id, kind).await? {
                    return Ok(Judged::Explained);
                }
            }
        }
        // The listing is older than the record: whatever removes such bytes may have done so meanwhile.
        let still = match &key {
            Some(key) => open.store.head(key).await?.is_some(),
            None => true,
        };
        Ok(if still {
            Judged::Finding(BucketFinding::Unknown { area, key: path, size: stored.bytes.size })
        } else {
            Judged::Explained
        })
    }

    /// Counts an app's visible objects, and looks for those that no listing has shown.
    async fn visible_of(&self, app: &AppName, seen: &HashSet<ObjectId>, found: &mut QuotaAudit) -> Result<(), Refusal> {
        let mut before = None;
        loop {
            let (app, state) = (Some(app.clone()), Some(State::Visible));
            let query = ObjectQuery { app, prefix: String::new(), state, before, limit: PAGE };
            let page = self.store.objects(query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.id);
            let unseen: Vec<&Object> = page.iter().filter(|object| !seen.contains(&object.id)).collect();
            let looked = futures::stream::iter(unseen).map(|object| self.look_for(object)).buffer_unordered(AT_ONCE);
            for (target, looked) in looked.collect::<Vec<_>>().await {
                let report = found.buckets.entry(target).or_default();
                match looked {
                    Ok(finding) => report.findings.extend(finding),
                    Err(ArrivalError::Store(error)) => return Err(error.into()),
                    Err(ArrivalError::Storage(error)) => report.unreadable = Some(error.to_string()),
                }
            }
            for object in page {
                let report = found.buckets.entry(object.target.clone()).or_default();
                if let Life::Visible { served, .. } = &object.life {
                    report.objects += 1;
                    report.bytes += served.size;
                }
            }
        }
    }

    /// Looks for a visible object's bytes: it may lie where its app no longer has its prefix, or just have come or gone.
    async fn look_for(&self, object: &Object) -> (TargetName, Result<Option<BucketFinding>, ArrivalError>) {
        let looked = async {
            let Life::Visible { served, .. } = &object.life else { return Ok(None) };
            let store = self.targets.store(&object.target);
            let store =
                store.ok_or_else(|| StorageError::Unavailable("the target is not configured any more".into()))?;
            let (id, key, size) = (object.id, object.keys.served.path().to_owned(), served.size);
            match store.head(&object.keys.served).await? {
                Some(there) if there.bytes.size == size => Ok(None),
                Some(there) => {
                    Ok(Some(BucketFinding::OtherSize { object: id, key, recorded: size, found: there.bytes.size }))
                }
                None => {
                    let now = self.store.object(id).await?;
                    let still = now.is_some_and(|now| now.revision == object.revision);
                    Ok(still.then_some(BucketFinding::Missing { object: id, key, size }))
                }
            }
        };
        (object.target.clone(), looked.await)
    }
}

/// What is known about bytes that a listing showed.
enum Judged {
    /// A visible object's, and what is wrong with them.
    Visible(ObjectId, Option<BucketFinding>),
    /// Bytes that have a reason to be there for now, or are gone.
    Explained,
    /// Something that differs.
    Finding(BucketFinding),
}

/// The entry of one repair.
fn described(mut entry: AuditEntry, row: &UsageRow) -> AuditEntry {
    match &row.holder {
        Holder::App(app) => entry.app = Some(app.clone()),
        Holder::Owner(owner) => entry.owner = Some(owner.clone()),
    }
    let changes = QuotaKind::ALL.into_iter().filter_map(|kind| {
        let (counted, summed) = (row.counted.used(kind, row.missing.issued_at), row.summed(kind));
        (counted != summed).then(|| format!("{} {counted} to {summed}", kind.key()))
    });
    let changes: Vec<String> = changes.collect();
    entry.detail = Some(format!("{} {}: {}", row.holder.kind().as_str(), row.holder.name(), changes.join(", ")));
    entry
}
