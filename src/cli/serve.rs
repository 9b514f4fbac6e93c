//! `vestibule serve`: production.

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::startup::Application;
use crate::telemetry;

use super::{ConfigFile, Failure};

pub(super) async fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    let telemetry = telemetry::init(&config.telemetry)?;
    let application = Application::build(config, Clock::system(), Some(telemetry.metrics.clone())).await?;
    tracing::info!(
        public = %application.public_address(),
        admin = %application.admin_address(),
        policies = %application.app().policies.current().digest(),
        "listening"
    );
    Box::pin(application.run_until_stopped(CancellationToken::new())).await?;
    Ok(())
}
