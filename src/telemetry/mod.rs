//! Logs, traces and metrics.
//!
//! Logs go to stderr, as text for people or JSON lines for machines. Spans go to an OTLP collector where one is
//! configured. Metrics are rendered on demand in the Prometheus text format. None of them ever carries a token, a
//! signature or a signed URL: those types do not print themselves.

mod fields;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::fields::PlainFields;

/// `[telemetry]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log: LogFormat,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`, for example `info,vestibule=debug`.
    pub filter: String,
    /// The address of an OTLP/HTTP collector for spans, for example `http://127.0.0.1:4318/v1/traces`.
    pub otlp_endpoint: Option<url::Url>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log: LogFormat::Human, filter: "info".into(), otlp_endpoint: None }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("telemetry.filter: {0}")]
    Filter(#[from] ParseError),
    /// The collector's address cannot be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else in the process has set one up already.
    #[error("telemetry is set up already: {0}")]
    Twice(String),
}

/// Keeps telemetry alive; dropping it sends what is left to the collector.
pub struct Telemetry {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            // The process ends either way; what the collector does not take now is lost.
            let _ = traces.shutdown();
        }
    }
}

/// Sets up logs, traces and metrics for the process.
///
/// # Errors
/// [`TelemetryError`] where the configuration cannot be used or telemetry is set up already.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let filter = filter(&config.filter)?;
    let logs = match config.log {
        LogFormat::Human if std::io::stderr().is_terminal() => {
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).boxed()
        }
        LogFormat::Human => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .fmt_fields(PlainFields)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    let traces = config.otlp_endpoint.as_ref().map(tracer).transpose()?;
    let spans = traces
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(env!("CARGO_PKG_NAME"))));
    tracing_subscriber::registry()
        .with(filter)
        .with(logs)
        .with(spans)
        .try_init()
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    Ok(Telemetry { metrics: recorder()?, traces })
}

/// Most filters name targets and levels alone; those cost nothing when a span is entered, which every request does at each
/// step.
fn filter<S: Subscriber + for<'s> LookupSpan<'s>>(text: &str) -> Result<Box<dyn Layer<S> + Send + Sync>, ParseError> {
    match text.parse::<Targets>() {
        Ok(targets) if targets.default_level().is_some() => Ok(targets.boxed()),
        _ => Ok(EnvFilter::try_new(text)?.boxed()),
    }
}

/// How long one export of spans may take; those of a collector that is away are dropped.
const EXPORT: Duration = Duration::from_secs(10);

fn tracer(endpoint: &url::Url) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint.as_str())
        .with_timeout(EXPORT)
        .build()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Seconds; from a small file over loopback to the longest scan.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

fn recorder() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    describe();
    Ok(handle)
}

/// Names every metric once, with its unit and meaning.
fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("vestibule_issued_total", "URLs issued, by kind: upload, download, redirect");
    describe_counter!("vestibule_refused_total", "Refusals, by code of the error table");
    describe_counter!("vestibule_wrong_secrets_total", "Wrong secrets presented for the id of a token that exists");
    describe_counter!("vestibule_rotated_token_requests_total", "Requests with a token that another one has followed");
    describe_counter!("vestibule_requests_shed_total", "Requests refused because too many were worked on");
    describe_counter!("vestibule_arrivals_total", "Uploads noticed, by source: event or sweep");
    describe_counter!("vestibule_transitions_total", "State changes, by the state that was reached");
    describe_counter!("vestibule_strays_removed_total", "Bytes that appeared under finished uploads and were removed");
    describe_counter!("vestibule_unknown_keys_total", "Events or staged keys that belong to no object, by source");
    describe_counter!("vestibule_dead_letters_total", "Events that nobody could read");
    describe_counter!("vestibule_job_retries_total", "Jobs given back to be tried again, by kind");
    describe_counter!("vestibule_sweep_findings_total", "What the sweep found, by finding");
    describe_counter!("vestibule_audit_sink_errors_total", "Writes of audit lines that failed, outside the database");
    describe_counter!("vestibule_inspections_total", "Inspections, by outcome");
    describe_histogram!(
        "vestibule_inspection_seconds",
        Unit::Seconds,
        "One inspection, by outcome; the wait for a slot not counted"
    );
    describe_histogram!("vestibule_request_seconds", Unit::Seconds, "HTTP requests, by listener, route and status");
    describe_counter!("vestibule_identity_provider_reads_total", "Reads of an issuer's keys, by issuer and outcome");
    describe_gauge!("vestibule_objects", "Objects, by state");
    describe_gauge!("vestibule_jobs", "Jobs waiting or under way, by kind");
    describe_gauge!("vestibule_queue_age_seconds", Unit::Seconds, "Age of the oldest job, by kind");
    describe_gauge!("vestibule_dead_letters", "Dead letters kept");
    describe_gauge!("vestibule_database_up", "1 where the database takes writes");
    describe_gauge!("vestibule_target_up", "1 where the target's storage answers, by target");
    describe_gauge!("vestibule_scanner_up", "1 where the scanner answers, by server");
    describe_gauge!("vestibule_scanner_signatures_stale", "1 where the signatures are out of date, by server");
    describe_gauge!("vestibule_scanner_slots", "Scans that a server may get at the same time");
    describe_gauge!("vestibule_scanner_scans", "Scans that a server has");
    describe_gauge!("vestibule_scanner_queued", "Commands of anybody that wait for one of a server's threads");
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Registry;

    use super::filter;

    #[test]
    fn filters_name_targets_levels_and_spans() {
        for text in ["info", "warn,vestibule=debug", "vestibule=debug", "info,vestibule[request{method=GET}]=trace", ""]
        {
            assert!(filter::<Registry>(text).is_ok(), "{text}");
        }
        assert!(filter::<Registry>("info,vestibule=loud").is_err());
    }
}
