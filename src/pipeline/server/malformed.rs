//! Responses to requests that are not valid HTTP. hyper answers these itself, with a status and
//! nothing else, so a browser could not even read that.

/// The start of responses of hyper's own, which all report an error of the client.
const START: &[u8] = b"HTTP/1.1 4";
/// Ours always have a body.
const NO_BODY: &str = "content-length: 0\r\n";

/// The response to send instead of `response`, if that is one of hyper's own.
pub(super) fn replace(response: &[u8]) -> Option<Vec<u8>> {
    if !response.starts_with(START) || !response.ends_with(b"\r\n\r\n") {
        return None;
    }
    let (before, after) = std::str::from_utf8(response).ok()?.split_once(NO_BODY)?;
    let error = match before.get(9..12)? {
        "414" => "request: the URL is too long",
        "431" => "request: the head is too large",
        _ => "request: not valid HTTP/1.1",
    };
    let body = serde_json::json!({ "error": error }).to_string();
    let length = body.len();
    let whole = format!(
        "{before}content-type: application/json\r\naccess-control-allow-origin: *\r\n\
         content-length: {length}\r\n{after}{body}"
    );
    Some(whole.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_responses_without_a_body_are_replaced() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                   content-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        let replaced = String::from_utf8(replace(own.as_bytes()).unwrap()).unwrap();
        let (head, body) = replaced.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("connection: close") && head.contains("date: "), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, r#"{"error":"request: the head is too large"}"#);
        for other in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "",
        ] {
            assert_eq!(replace(other.as_bytes()), None, "{other}");
        }
    }
}
