//! The integration tests: one binary, a file per subject, real components only.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test, as tests do")]
#![allow(unreachable_pub, reason = "a test binary has no public items")]

mod audit_trail;
mod away;
mod azure;
mod clamd;
mod cli;
mod cloud;
mod conformance;
mod crowd;
mod demo;
mod deploy;
mod embedded;
mod events;
mod faults;
mod gateway;
mod graceful;
mod harness;
mod health;
mod http_admin;
mod http_cors;
mod http_description;
mod http_download;
mod http_errors;
mod http_limits;
mod http_objects;
mod http_policy;
mod http_prefix;
mod http_quotas;
mod http_records;
mod http_regulated;
mod http_tls;
mod http_upload;
mod http_upload_rules;
mod identity;
mod inspect;
mod limits;
mod main_job;
mod operations;
mod policy;
mod policy_diff;
mod quota;
mod recovery;
mod reload;
mod retention;
mod s3;
mod scanners;
mod secrets;
mod signing_azure;
mod signing_s3;
mod store_conformance;
mod store_postgres;
mod store_sqlite;
mod tidy;
