//! Vestibule: a pre-signed URL gateway for object storage.
//!
//! The modules are layers, and imports point down only:
//! `cli → startup → {http, worker} → app → {policy, identity, storage, store, audit} → domain`.
//! `tests/it/tidy.rs` keeps it so. ARCHITECTURE.md walks through them.

pub mod app;
pub mod audit;
mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod fault;
pub mod http;
pub mod identity;
pub mod limits;
pub mod policy;
pub mod startup;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod worker;
