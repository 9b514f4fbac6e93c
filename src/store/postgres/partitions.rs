//! The months of the two tables that grow with time: made ahead, and dropped as a whole.
//!
//! A partition is a table of its own that is attached once it is complete, so that making one holds up no request. Who
//! makes or drops one holds a row's lock for that transaction; there is no advisory lock. A row whose month has no
//! partition makes the batch fail, the month be made, and the batch be run again: no default partition, which would have
//! to be searched for every month that is attached later.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::error::Failure;
use super::numbers;

/// Months made ahead of the present one.
const AHEAD: i32 = 2;

/// A calendar month, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Month(civil::Date);

impl Month {
    /// The month that a moment lies in.
    pub(in crate::store) fn of(time: Timestamp) -> Self {
        Self(time.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// The month that an object's id lies in.
    pub(in crate::store) fn of_id(id: Uuid) -> Self {
        let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(0);
        Self::of(Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The month that a number of the audit trail lies in.
    pub(in crate::store) fn of_number(number: i64) -> Self {
        Self::of(numbers::time(number))
    }

    /// So many months later.
    fn later(self, months: i32) -> Self {
        Self(self.0.saturating_add(months.months()))
    }

    /// When it begins.
    fn start(self) -> Timestamp {
        self.0.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |start| start.timestamp())
    }

    /// `2026_11`, the end of its partitions' names.
    fn name(self) -> String {
        format!("{:04}_{:02}", self.0.year(), self.0.month())
    }

    fn from_name(name: &str) -> Option<Self> {
        let (year, month) = name.split_once('_')?;
        civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)
    }

    /// The lowest id of the month.
    fn first_id(self) -> Uuid {
        Uuid::from_u128(u128::try_from(self.start().as_millisecond()).unwrap_or(0) << 80)
    }
}

/// Makes the present month and those ahead of it, where they are missing; the last one that is there then.
pub(super) async fn make_ahead(conn: &mut PgConnection, now: Timestamp) -> Result<Month, Failure> {
    let month = Month::of(now);
    make(conn, (0..=AHEAD).map(|ahead| month.later(ahead)).collect()).await?;
    Ok(month.later(AHEAD))
}

/// Makes these months in both tables, in one transaction.
pub(super) async fn make(conn: &mut PgConnection, mut months: Vec<Month>) -> Result<(), Failure> {
    months.sort();
    months.dedup();
    sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
    let made = make_all(conn, &months).await;
    sqlx::raw_sql(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).execute(&mut *conn).await?;
    made
}

/// The same within a transaction that is open already.
pub(in crate::store) async fn make_all(conn: &mut PgConnection, months: &[Month]) -> Result<(), Failure> {
    lock(conn).await?;
    let there = names(conn).await?;
    for month in months {
        for table in ["objects", "audit"] {
            let name = format!("{table}_{}", month.name());
            if there.contains(&name) {
                continue;
            }
            let (from, to) = match table {
                "objects" => (format!("'{}'", month.first_id()), format!("'{}'", month.later(1).first_id())),
                _ => (numbers::floor(month.start()).to_string(), numbers::floor(month.later(1).start()).to_string()),
            };
            // Names and bounds are made of numbers here: nothing in them came from outside.
            let sql = format!(
                "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                 ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Drops the months of the audit trail that ended before `before`, within the transaction that is open; how many entries
/// went. For the moment of the drop the trail is locked as a whole.
pub(super) async fn drop_before(conn: &mut PgConnection, before: Timestamp) -> Result<u64, Failure> {
    lock(conn).await?;
    let mut dropped = 0;
    for name in names(conn).await? {
        let month = name.strip_prefix("audit_").and_then(Month::from_name);
        // A number is never below the time of its entry: no entry of an ended month is younger than its end.
        if month.is_none_or(|month| month.later(1).start() > before) {
            continue;
        }
        let count = sqlx::query(AssertSqlSafe(format!("SELECT count(*) FROM {name}"))).fetch_one(&mut *conn).await?;
        dropped += u64::try_from(count.try_get::<i64, _>(0)?).unwrap_or(0);
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(&mut *conn).await?;
    }
    Ok(dropped)
}

async fn lock(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("SELECT only_row FROM partition_keeper FOR UPDATE").execute(conn).await?;
    Ok(())
}

/// Every partition of both tables.
async fn names(conn: &mut PgConnection) -> Result<Vec<String>, Failure> {
    let sql = "SELECT child.relname::text FROM pg_inherits
               JOIN pg_class child ON child.oid = inhrelid
               WHERE inhparent IN ('objects'::regclass, 'audit'::regclass) ORDER BY 1";
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_without_gaps() {
        let december = Month::of("2026-12-31T23:59:59.999999Z".parse().unwrap());
        assert_eq!((december.name(), december.later(1).name()), ("2026_12".into(), "2027_01".into()));
        assert_eq!(december.later(1).start(), "2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(Month::from_name("2026_12"), Some(december));
        assert_eq!(Month::from_name("copy"), None);
    }

    #[test]
    fn an_id_lies_in_the_month_of_its_time() {
        let id = |millis: u64| uuid::Builder::from_unix_timestamp_millis(millis, &[0xff; 10]).into_uuid();
        let end = Month::of_id(id(1_796_083_199_999));
        let start = Month::of_id(id(1_796_083_200_000));
        assert_eq!((end.name(), start.name()), ("2026_11".into(), "2026_12".into()));
        assert!(id(1_796_083_199_999) < start.first_id() && id(1_796_083_200_000) >= start.first_id());
    }
}
