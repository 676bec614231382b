//! The filters, with the file of hosts that send spam as the referrer.

use color_eyre::eyre::{Result, WrapErr};

use crate::config::Settings;
use bklit_pipeline::intake::filters::Filters;

/// The filters of the settings.
///
/// # Errors
/// If the file cannot be read.
pub(super) async fn filters(settings: &Settings) -> Result<Filters> {
    let file = settings.filters.referrers_file.as_ref();
    let lines = match file.filter(|_| settings.roles.accept_events()) {
        Some(path) => {
            let read = tokio::fs::read_to_string(path).await;
            let path = path.display();
            Some(read.wrap_err_with(|| format!("cannot read filters.referrers_file, {path}"))?)
        }
        None => None,
    };
    Ok(Filters::new(settings.filters.clone(), settings.privacy.clone(), lines.as_deref()))
}
