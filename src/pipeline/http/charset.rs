//! The character encoding of request bodies. JSON is UTF-8, but a `charset` in the Content-Type may name
//! another encoding of the [WHATWG Encoding Standard](https://encoding.spec.whatwg.org/).

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::refusal::Refusal;

/// The longest name of an unknown encoding that is quoted, in characters.
const MAX_NAME: usize = 40;

/// The encoding that the head names, UTF-8 if it names none.
pub fn named_in(headers: &HeaderMap) -> Result<&'static Encoding, Refusal> {
    let Some(label) = headers.get(CONTENT_TYPE).and_then(|value| label(value.as_bytes())) else {
        return Ok(UTF_8);
    };
    // The standard reads these as windows-1252, which is the same for ASCII text.
    if [&b"us-ascii"[..], b"ascii"].iter().any(|ascii| label.eq_ignore_ascii_case(ascii)) {
        return Ok(UTF_8);
    }
    Encoding::for_label_no_replacement(label).ok_or_else(|| {
        Refusal::Charset(String::from_utf8_lossy(label).chars().take(MAX_NAME).collect())
    })
}

/// The value of the parameter `charset`, without quotes.
fn label(content_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = content_type.split(|byte| *byte == b';').skip(1);
    parameters.find_map(|parameter| {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = parameter.split_at(equals);
        let value = value[1..].trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        (name.trim_ascii().eq_ignore_ascii_case(b"charset") && !value.is_empty()).then_some(value)
    })
}

/// The body in UTF-8. UTF-8 itself is returned unchecked.
pub fn decode(body: Bytes, encoding: &'static Encoding) -> Result<Bytes, Refusal> {
    if encoding == UTF_8 {
        return Ok(body);
    }
    let (text, _, has_errors) = encoding.decode(&body);
    if has_errors {
        return Err(Refusal::field("body", format!("not valid {}", encoding.name())));
    }
    Ok(text.into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(content_type: &str, body: &[u8]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let encoding = named_in(&headers).map_err(|refusal| refusal.to_string())?;
        let body = decode(Bytes::copy_from_slice(body), encoding);
        body.map(|body| String::from_utf8_lossy(&body).into_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn bodies_are_decoded_as_their_charset_says() {
        for (parameters, body) in [
            ("", "é".as_bytes()),
            ("; charset=UTF-8", "é".as_bytes()),
            (";charset=us-ascii", "é".as_bytes()),
            ("; charset", "é".as_bytes()),
            ("; charset=", "é".as_bytes()),
            ("; charset=\"iso-8859-1\"", b"\xe9"),
            ("; boundary=x; Charset = windows-1252 ", b"\xe9"),
            ("; charset=utf-16", b"\xe9\0"),
            ("; charset=utf-16be", b"\0\xe9"),
            ("; charset=utf-16be", b"\xfe\xff\0\xe9"),
            ("; charset=iso-8859-1", b"\xef\xbb\xbf\xc3\xa9"),
        ] {
            let content_type = format!("application/json{parameters}");
            assert_eq!(decoded(&content_type, body).as_deref(), Ok("é"), "{content_type}");
        }
    }

    #[test]
    fn unknown_charsets_and_invalid_text_are_named() {
        let long = "x".repeat(1000);
        for (charset, problem) in [
            ("utf-32", "the charset utf-32 is not supported; send UTF-8"),
            ("iso-2022-kr", "the charset iso-2022-kr is not supported; send UTF-8"),
            (&long, &format!("the charset {} is not supported; send UTF-8", &long[..40])),
        ] {
            let result = decoded(&format!("text/plain;charset={charset}"), b"{}");
            assert_eq!(result, Err(problem.to_owned()));
        }
        let result = decoded("application/json; charset=utf-16", b"{}\0");
        assert_eq!(result, Err("body: not valid UTF-16LE".to_owned()));
    }
}
