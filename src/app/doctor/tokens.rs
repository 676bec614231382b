//! Checks of the tokens: their allowed domains.

use std::sync::Arc;

use bklit_pipeline::auth::{TokenStore, domains};
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::text::safe;

/// Reports allowed domains that no site matches, or that strangers' sites match. Whether the store is
/// available is checked elsewhere.
pub(super) async fn check(store: Arc<dyn TokenStore>) -> Vec<Diagnostic> {
    let listing = store.listing().await;
    let mut findings = Vec::new();
    for token in &listing.tokens {
        let warnings = domains::warnings(&token.allowed_domains);
        findings.extend(warnings.iter().map(|warning| {
            Diagnostic::warning(
                safe(&format!("token {} ({}…): {warning}", token.id, token.prefix)).into_owned(),
                "create a token with other domains (`bklit-tui token create --domain`), or correct \
                 them in Bklit's dashboard, and revoke this one",
            )
        }));
    }
    if listing.unreadable > 0 {
        findings.push(Diagnostic::warning(
            format!("{} tokens cannot be read and are refused", listing.unreadable),
            "they are damaged, or were created by a newer version: create new ones",
        ));
    }
    if findings.is_empty() && listing.unavailable.is_none() {
        let limited =
            listing.tokens.iter().filter(|token| !token.allowed_domains.is_empty()).count();
        findings.push(Diagnostic::good(format!(
            "tokens: {}, limited to certain domains: {limited}",
            listing.tokens.len()
        )));
    }
    findings
}
