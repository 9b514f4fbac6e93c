//! Azure Blob Storage.

pub mod shared_key;

pub use shared_key::AzureCredential;
