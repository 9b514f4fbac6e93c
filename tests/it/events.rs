//! Events from real queues and real deliveries to the handler's side of the seam.
//!
//! SQS, SNS and EventBridge are LocalStack's, the storage queue is Azurite's, the Event Grid events come from the small
//! emitter in `localstack/`. Each test makes its own bucket, queue and topic and removes them. The handler here only
//! records: what a hint means is tested where it is decided.

pub(crate) mod aws;
mod azure_queue;
mod eventbridge;
mod http;
mod recorder;
mod sns_push;
mod sqs;
