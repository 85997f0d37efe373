//! `api doctor`.

use api::doctor::{self, Status};

use super::{config, print};

/// Prints the result of every check.
///
/// # Errors
/// If a check fails.
pub(crate) async fn run() -> Result<(), String> {
    let findings = doctor::run_checks(&config()?).await;
    findings.iter().try_for_each(|finding| print(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.status == Status::Fail).count() {
        0 => Ok(()),
        1 => Err("1 check failed.".into()),
        failed => Err(format!("{failed} checks failed.")),
    }
}
