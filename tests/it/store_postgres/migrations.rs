//! `migrate up` and `migrate status`, and which schemas a program serves.

use vestibule::store::StoreError;
use vestibule::store::postgres::{PostgresOptions, migrate, status};

use super::Database;

async fn refusal(database: &Database) -> String {
    match database.store(PostgresOptions::default(), None).await.err() {
        Some(StoreError::Schema(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_empty_database_is_refused_with_the_next_step() {
    let database = Database::empty().await;
    let before = status(&database.url()).await.unwrap();
    assert!(before.found == 0 && before.migrations.iter().all(|(.., applied)| applied.is_none()));
    assert!(refusal(&database).await.contains("vestibule migrate up"));
    let done = database.migrate().await;
    assert_eq!(done, (1..=before.known).collect::<Vec<_>>());
    let after = status(&database.url()).await.unwrap();
    assert!(after.found == after.known && after.migrations.iter().all(|(.., applied)| applied.is_some()));
    database.store(PostgresOptions::default(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_again_or_many_times_at_once_does_nothing_twice() {
    let database = Database::empty().await;
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let url = database.url();
    let done = futures::future::join_all((0..4).map(|_| migrate(&url, now))).await;
    let mut done: Vec<usize> = done.into_iter().flat_map(|done| done.unwrap()).collect();
    done.sort();
    assert_eq!(done, (1..=status(&url).await.unwrap().known).collect::<Vec<_>>(), "each once");
    assert!(database.migrate().await.is_empty());
}

#[tokio::test]
async fn the_schema_of_the_next_version_is_served_and_none_beyond_it() {
    let database = Database::migrated().await;
    let known = status(&database.url()).await.unwrap().known;
    database.run(&format!("INSERT INTO schema_migrations VALUES ({}, 'next', 0)", known + 1)).await;
    let store = database.store(PostgresOptions::default(), None).await.unwrap();
    vestibule::store::Store::probe(&store).await.unwrap();
    database.run(&format!("INSERT INTO schema_migrations VALUES ({}, 'after', 0)", known + 2)).await;
    let told = refusal(&database).await;
    assert!(told.contains("newer program") && told.contains(&format!("version {}", known + 2)), "{told}");
    let status = status(&database.url()).await.unwrap();
    assert_eq!((status.found, status.migrations.len()), (known + 2, known + 2));
}
