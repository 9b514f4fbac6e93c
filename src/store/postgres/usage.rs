//! What apps and owners use: their rows and locks, the comparison with the objects, and the repair.
//!
//! Rows are locked apps first, then owners, each by name, and all of a batch in one statement: two batches wait for each
//! other in one direction only.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection};

use super::batch::Work;
use super::error::Failure;
use super::op::Line;
use super::rows::PgColumns;
use crate::domain::quota::{QuotaHolder, QuotaLimits, QuotaMet, Quotas};
use crate::domain::usage::Usage;
use crate::store::columns::Columns;
use crate::store::usage::{self, Holder, UsageOfBoth, UsageQuery, UsageRow, sums, usage_columns};

/// What holders use, with the changes of a batch. Holds rows that are locked, and only those.
#[derive(Default)]
pub(super) struct Used(BTreeMap<Holder, (Usage, bool)>);

impl Used {
    /// What somebody uses, with everything that this batch has done so far.
    pub(super) fn of(&self, holder: &Holder) -> Usage {
        self.0.get(holder).map(|(usage, _)| *usage).unwrap_or_default()
    }

    /// Sets what somebody uses from now on.
    pub(super) fn set(&mut self, holder: &Holder, usage: Usage) {
        if let Some(own) = self.0.get_mut(holder) {
            *own = (usage, true);
        }
    }

    /// What was changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&Holder, &Usage)> {
        self.0.iter().filter(|(_, (_, changed))| *changed).map(|(holder, (usage, _))| (holder, usage))
    }

    /// Counts one more use for both, or says which quota is met and counts nothing.
    pub(super) fn count(
        &mut self,
        [app, owner]: &[Holder; 2],
        limits: &QuotaLimits,
        count: impl Fn(&Usage, QuotaHolder, &Quotas) -> Result<Usage, QuotaMet>,
    ) -> Result<(), QuotaMet> {
        let now = UsageOfBoth { app: self.of(app), owner: self.of(owner) };
        let UsageOfBoth { app: of_app, owner: of_owner } = usage::with_use(now, limits, count)?;
        self.set(app, of_app);
        self.set(owner, of_owner);
        Ok(())
    }
}

const LOCK: &str = concat!(
    "WITH apps AS MATERIALIZED (
        SELECT app, ",
    usage_columns!(),
    " FROM app_usage WHERE app = ANY($1) ORDER BY app FOR UPDATE
     ), owners AS MATERIALIZED (
        SELECT owner, ",
    usage_columns!(),
    " FROM owner_usage WHERE owner = ANY($2) ORDER BY owner FOR UPDATE
     )
     SELECT FALSE, * FROM apps UNION ALL SELECT TRUE, * FROM owners"
);

/// Locks what these holders use until the end of the transaction, and reads it. Where a row is missing it is made.
pub(super) async fn lock(conn: &mut PgConnection, holders: &[&Holder]) -> Result<Used, Failure> {
    let names = |of: QuotaHolder| -> Vec<&str> {
        holders.iter().filter(|holder| holder.kind() == of).map(|holder| holder.name()).collect()
    };
    let (apps, owners) = (names(QuotaHolder::App), names(QuotaHolder::Owner));
    let mut made = false;
    loop {
        let mut used = Used::default();
        for row in sqlx::query(LOCK).bind(&apps).bind(&owners).fetch_all(&mut *conn).await? {
            let columns = &mut PgColumns::of(&row);
            let holder = if columns.get()? { Holder::Owner(columns.parsed()?) } else { Holder::App(columns.parsed()?) };
            used.0.insert(holder, (usage::usage(columns)?, false));
        }
        if used.0.len() == holders.len() {
            return Ok(used);
        }
        if made {
            return Err(Failure::Again("what somebody uses disappeared".into()));
        }
        for (sql, names) in [
            (
                "INSERT INTO app_usage (app, bytes, objects) SELECT app, 0, 0 FROM UNNEST($1::text[]) AS asked (app)
                 ORDER BY app ON CONFLICT DO NOTHING",
                &apps,
            ),
            (
                "INSERT INTO owner_usage (owner, bytes, objects)
                 SELECT owner, 0, 0 FROM UNNEST($1::text[]) AS asked (owner) ORDER BY owner ON CONFLICT DO NOTHING",
                &owners,
            ),
        ] {
            sqlx::query(sql).bind(names).execute(&mut *conn).await?;
        }
        made = true;
    }
}

/// What somebody uses, as committed.
pub(super) async fn read(conn: &mut PgConnection, [app, owner]: &[Holder; 2]) -> Result<UsageOfBoth, Failure> {
    let sql = concat!(
        "SELECT FALSE, ",
        usage_columns!(),
        " FROM app_usage WHERE app = $1 UNION ALL SELECT TRUE, ",
        usage_columns!(),
        " FROM owner_usage WHERE owner = $2"
    );
    let mut both = UsageOfBoth::default();
    for row in sqlx::query(sql).bind(app.name()).bind(owner.name()).fetch_all(conn).await? {
        let columns = &mut PgColumns::of(&row);
        let of_owner = columns.get()?;
        *(if of_owner { &mut both.owner } else { &mut both.app }) = usage::usage(columns)?;
    }
    Ok(both)
}

/// See [`crate::store::Store::audit_usage`]. Both queries see one committed state.
pub(super) async fn audit(conn: &mut PgConnection, query: &UsageQuery) -> Result<Vec<UsageRow>, Failure> {
    let mut tx = conn.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *tx).await?;
    let sql = concat!(
        "SELECT FALSE, app, ",
        usage_columns!(),
        " FROM app_usage UNION ALL SELECT TRUE, owner, ",
        usage_columns!(),
        " FROM owner_usage"
    );
    let mut counted = Vec::new();
    for row in sqlx::query(sql).fetch_all(&mut *tx).await? {
        let columns = &mut PgColumns::of(&row);
        let holder = if columns.get()? { Holder::Owner(columns.parsed()?) } else { Holder::App(columns.parsed()?) };
        counted.push((holder, usage::usage(columns)?));
    }
    let [day, day_end, hour, hour_end] = usage::bounds(query.at);
    let sql = sums!("($1::text IS NULL OR app = $1)", "$2", "$3", "$4", "$5");
    let rows = sqlx::query(sql)
        .bind(query.app.as_ref().map(|app| app.as_str()))
        .bind(day)
        .bind(day_end)
        .bind(hour)
        .bind(hour_end)
        .fetch_all(&mut *tx)
        .await?;
    let sums = rows.iter().map(|row| usage::sum(&mut PgColumns::of(row))).collect::<Result<Vec<_>, _>>()?;
    tx.commit().await?;
    Ok(usage::compare(query, counted, sums))
}

/// See [`crate::store::Store::repair_usage`].
pub(super) fn repair<'a>(rows: &'a [UsageRow], lines: &'a [Line], work: &mut Work<'a>) {
    for row in rows {
        work.correct(&row.holder, &row.missing);
    }
    lines.iter().for_each(|line| work.record(line));
}
