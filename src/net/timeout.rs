//! A bound on how long a call may take, and the reason to report when it took longer.

use std::time::Duration;

/// Awaits `call` for at most `limit`. After that the call is dropped and the result is the error
/// that `unavailable` creates from the reason.
///
/// # Errors
/// Those of `call`, and that of `unavailable` after `limit`.
pub async fn within<T, E>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
    unavailable: impl FnOnce(String) -> E,
) -> Result<T, E> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(unavailable(no_response(limit))),
    }
}

/// The reason to report when nothing came within `limit`.
pub fn no_response(limit: Duration) -> String {
    format!("no response within {}", bklit_wire::duration::format(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_its_own_result_or_at_the_limit() {
        let limit = Duration::from_secs(5);
        let call = |secs| async move {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            if secs == 1 { Ok(7) } else { Err("refused".to_owned()) }
        };
        assert_eq!(within(limit, call(1), |_| unreachable!()).await, Ok(7));
        assert_eq!(within(limit, call(2), |_| unreachable!()).await, Err("refused".to_owned()));
        let late = within(limit, call(6), |reason| reason).await;
        assert_eq!(late, Err("no response within 5s".to_owned()));
    }
}
