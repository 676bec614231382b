//! Sends requests over persistent connections and checks the responses.

use std::time::Duration;

use bytes::Bytes;
use color_eyre::eyre::{WrapErr as _, eyre};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};

use super::visitors::{Expected, Planned, TokenChoice};
use bklit_remote::client::Client;
use bklit_wire::event::EventKind;

/// How long a response may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest response body that is read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// How many characters of a response are shown.
const MAX_SHOWN: usize = 200;

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted, as expected.
    Accepted {
        /// The event's kind.
        kind: EventKind,
        /// The event's id.
        id: Option<String>,
    },
    /// Refused, as expected.
    Refused,
    /// Valid but refused.
    WronglyRefused(String),
    /// Invalid but accepted, or an invalid response.
    Wrong(String),
    /// No response.
    Failed(String),
}

/// Sends requests to one pipeline with one token.
pub struct Sender {
    client: Client,
    base: String,
    authorization: HeaderValue,
}

impl Sender {
    /// Sends to `base`, a URL whose path, if any, is prepended.
    ///
    /// # Errors
    /// When the token is not a valid header value.
    pub fn new(client: Client, base: String, token: &str) -> color_eyre::Result<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| eyre!("the token contains characters that are not allowed in a header"))?;
        authorization.set_sensitive(true);
        Ok(Self { client, base, authorization })
    }

    /// Checks that the pipeline is reachable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check(&self) -> color_eyre::Result<()> {
        let request = Request::get(format!("{}/health", self.base))
            .body(Full::default())
            .wrap_err_with(|| format!("{} is not a valid URL", self.base))?;
        let response = tokio::time::timeout(REQUEST_TIMEOUT, self.client.request(request)).await;
        let cause = match response {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => bklit_remote::client::cause(&error),
            Err(_) => {
                format!("no response within {}", bklit_wire::duration::format(REQUEST_TIMEOUT))
            }
        };
        Err(eyre!("cannot reach {0} ({cause}); is bklit-tui running at {0}?", self.base))
    }

    /// Sends a request and checks the response.
    pub async fn send(&self, planned: Planned) -> Outcome {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.request_response(&planned)).await {
            Ok(Ok((status, body))) => outcome(&planned, status, &body),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(format!(
                "no response within {}",
                bklit_wire::duration::format(REQUEST_TIMEOUT)
            )),
        }
    }

    async fn request_response(&self, planned: &Planned) -> Result<(StatusCode, Bytes), String> {
        let request = self.request(planned).map_err(|error| error.to_string())?;
        let response: Response<Incoming> = self
            .client
            .request(request)
            .await
            .map_err(|error| bklit_remote::client::cause(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }

    fn request(&self, planned: &Planned) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.base, planned.path))
            .header(CONTENT_TYPE, planned.content_type)
            .header(USER_AGENT, planned.user_agent);
        match &planned.token {
            TokenChoice::Given => request = request.header(AUTHORIZATION, &self.authorization),
            TokenChoice::Wrong(token) => {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            TokenChoice::None => {}
        }
        request.body(Full::new(Bytes::copy_from_slice(&planned.body)))
    }
}

fn outcome(planned: &Planned, status: StatusCode, body: &[u8]) -> Outcome {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Accepted {
        event_id: Option<String>,
    }
    let described = || {
        let text = String::from_utf8_lossy(body);
        // The server's text is printed on a terminal.
        let text: String = text.chars().take(MAX_SHOWN).collect();
        let text = bklit_wire::text::safe(&text);
        format!("{} to POST {}: {text}", status.as_u16(), planned.path)
    };
    match planned.expects {
        Expected::Accepted(kind) if status.is_success() => {
            match serde_json::from_slice::<Accepted>(body) {
                Ok(accepted) => Outcome::Accepted { kind, id: accepted.event_id },
                Err(_) => Outcome::Wrong(described()),
            }
        }
        Expected::Accepted(_) if status.is_client_error() || status.is_server_error() => {
            Outcome::WronglyRefused(described())
        }
        Expected::Refused(expected) if status.as_u16() == expected => Outcome::Refused,
        _ => Outcome::Wrong(described()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(expects: Expected) -> Planned {
        Planned {
            path: "/track",
            content_type: "application/json",
            user_agent: "test",
            token: TokenChoice::Given,
            body: Vec::new(),
            expects,
        }
    }

    #[test]
    fn a_response_is_compared_with_the_expected_one() {
        let good = planned(Expected::Accepted(EventKind::Pageview));
        let bad = planned(Expected::Refused(400));
        let ok = br#"{"message":"Event queued","eventId":"evt_1"}"#;
        let accepted =
            Outcome::Accepted { kind: EventKind::Pageview, id: Some("evt_1".to_owned()) };
        assert_eq!(outcome(&good, StatusCode::OK, ok), accepted);
        assert_eq!(outcome(&bad, StatusCode::BAD_REQUEST, b"{}"), Outcome::Refused);
        let wrongly = outcome(&good, StatusCode::SERVICE_UNAVAILABLE, b"\x1b[31mfull");
        assert_eq!(
            wrongly,
            Outcome::WronglyRefused(r"503 to POST /track: \u{1b}[31mfull".to_owned())
        );
        for (planned, status, body) in [
            (&bad, StatusCode::OK, &ok[..]),
            (&bad, StatusCode::UNAUTHORIZED, b"{}"),
            (&good, StatusCode::OK, b"<html>"),
            (&good, StatusCode::FOUND, b""),
        ] {
            let outcome = outcome(planned, status, body);
            assert!(matches!(outcome, Outcome::Wrong(_)), "{outcome:?}");
        }
    }

    #[test]
    fn a_token_that_is_not_a_header_value_is_refused() {
        let client = bklit_remote::client::client(None, None).unwrap();
        assert!(Sender::new(client, "http://127.0.0.1:1".to_owned(), "a\nb").is_err());
    }
}
