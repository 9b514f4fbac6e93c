//! What only the SQLite store promises: the file, the disk, the batches, other processes.

use std::sync::Arc;

use vestibule::store::Store;
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};

/// A database in a directory of its own.
pub(crate) struct Sqlite {
    store: Arc<SqliteStore>,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) async fn create() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("vestibule.db"), SqliteOptions::default(), None).unwrap();
        Self { store: Arc::new(store), _dir: dir }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}
