//! What the program says about itself, on stderr. Never SQL, never keys, never a row.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging under a filter such as `info`. A second call changes nothing.
///
/// # Errors
/// When the filter isn't one.
pub fn start(filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|e| TelemetryError(e.to_string()))?;
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr);
    if subscriber.try_init().is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}

/// The setting `log` isn't a filter.
#[derive(Debug, thiserror::Error)]
#[error("the setting `log` isn't a filter ({0}); write for example `info`")]
pub struct TelemetryError(String);
