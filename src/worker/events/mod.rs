//! Where storage events come in.
//!
//! Three queues (SQS, Azure Storage Queue, the embedded store's channel) and two push endpoints (Event Grid, SNS) carry
//! six forms of one message: something may have happened to a key. [`parse`] reads all of them into
//! [`Hint`](crate::domain::hint::Hint)s; [`consumer::Consumer`] drives a queue; [`push`] decides about a delivery over
//! HTTP. What a hint means is the business of the [`handler::HintHandler`] alone.
//!
//! The invariant: a message is acknowledged only after all that it says is durable. Absent on purpose: any order or
//! deduplication. Events are hints, whoever handles them looks into the storage, and the sweep converges without them
//! (docs/decisions/0006-events-are-hints.md).

pub mod azure_queue;
pub mod config;
pub mod consumer;
pub mod embedded;
pub mod handler;
pub mod parse;
pub mod push;
pub mod queue;
pub mod sqs;

pub use config::EventsConfig;
pub use consumer::{Consumer, Step};
pub use handler::{HandleError, HintHandler, deliver};
