//! The content of a request: statement, data, settings, user.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::request::Parts;

use crate::compression;
use crate::exception::Exception;

/// Parameters of the HTTP interface that are not settings of the query.
const RESERVED: [&str; 17] = [
    "query",
    "database",
    "default_format",
    "compress",
    "decompress",
    "query_id",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "user",
    "password",
    "quota_key",
    "role",
    "buffer_size",
    "wait_end_of_query",
    "stacktrace",
];

/// A parsed query.
pub struct Query {
    /// The statement, with the data that follows it.
    pub sql: Vec<u8>,
    pub database: Option<String>,
    pub format: String,
    /// Settings and `param_…`, in the order of the request.
    pub settings: Vec<(String, String)>,
    pub query_id: Option<String>,
    pub compress: bool,
    /// Whether the client accepts the `lz4` content encoding.
    pub lz4: bool,
    pub read_only: bool,
}

impl Query {
    /// Reads a request.
    pub fn read(parts: &Parts, body: &Bytes) -> Result<Self, Exception> {
        let mut parameters = parameters(parts);
        let mut body = decode(parts, &parameters, body)?;
        if let Some(boundary) = boundary(parts) {
            parameters.extend(multipart(&body, &boundary)?);
            body.clear();
        }
        let find = |name: &str| {
            parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let mut sql = find("query").unwrap_or_default().into_bytes();
        if !sql.is_empty() && !body.is_empty() {
            sql.push(b'\n');
        }
        sql.extend_from_slice(&body);
        let settings = parameters.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()));
        Ok(Query {
            sql,
            database: find("database").filter(|name| !name.is_empty()),
            format: find("default_format").unwrap_or_else(|| "TabSeparated".into()),
            settings: settings.cloned().collect(),
            query_id: find("query_id"),
            compress: find("compress").is_some_and(|value| value == "1"),
            lz4: header(parts, "accept-encoding").is_some_and(|value| value.contains("lz4")),
            read_only: parts.method == Method::GET,
        })
    }

    /// Replaces part of the statement.
    pub fn rewrite(&mut self, from: &str, to: &str) {
        // Only statements without binary data are rewritten.
        let sql = String::from_utf8_lossy(&self.sql).replace(from, to);
        self.sql = sql.into_bytes();
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// User and password, however they were sent.
pub fn credentials(parts: &Parts) -> (String, String) {
    let basic = header(parts, AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(base64)
        .and_then(|text| text.split_once(':').map(|(user, key)| (user.into(), key.into())));
    if let Some(basic) = basic {
        return basic;
    }
    let parameters = parameters(parts);
    let pick = |name: &str, parameter: &str| {
        let found = parameters.iter().find(|(key, _)| key == parameter);
        header(parts, name).map(str::to_owned).or_else(|| found.map(|(_, value)| value.clone()))
    };
    let user = pick("x-clickhouse-user", "user").unwrap_or_else(|| "default".into());
    (user, pick("x-clickhouse-key", "password").unwrap_or_default())
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

fn parameters(parts: &Parts) -> Vec<(String, String)> {
    let query = parts.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn decode(
    parts: &Parts,
    parameters: &[(String, String)],
    body: &Bytes,
) -> Result<Vec<u8>, Exception> {
    let failed = |error: String| Exception::new(271, &format!("Cannot decompress: {error}"));
    let body = match header(parts, CONTENT_ENCODING.as_str()) {
        None | Some("identity") => body.to_vec(),
        Some("lz4") => compression::from_frame(body).map_err(|error| failed(error.to_string()))?,
        Some(other) => return Err(failed(format!("content encoding {other} is not known here"))),
    };
    let framed = parameters.iter().any(|(key, value)| key == "decompress" && value == "1");
    if framed { compression::from_blocks(&body).map_err(failed) } else { Ok(body) }
}

fn boundary(parts: &Parts) -> Option<String> {
    let kind = header(parts, CONTENT_TYPE.as_str())?;
    let rest = kind.strip_prefix("multipart/form-data")?;
    let boundary = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"').to_owned())
}

/// The fields of a form. Files, which real servers take as external tables, are not
/// supported.
fn multipart(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let refuse = |what: &str| Exception::new(36, &format!("multipart/form-data: {what}"));
    let text = std::str::from_utf8(body).map_err(|_| refuse("not UTF-8"))?;
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    for part in text.split(delimiter.as_str()).skip(1) {
        if part.starts_with("--") {
            return Ok(fields);
        }
        let part = part.strip_prefix("\r\n").and_then(|part| part.strip_suffix("\r\n"));
        let (head, value) = part
            .and_then(|part| part.split_once("\r\n\r\n"))
            .ok_or_else(|| refuse("a cut part"))?;
        let name = head.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"'));
        let (name, _) = name.ok_or_else(|| refuse("a part without a name"))?;
        fields.push((name.to_owned(), value.to_owned()));
    }
    Err(refuse("no end"))
}

fn base64(text: &str) -> Option<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::{base64, multipart};

    #[test]
    fn basic_credentials() {
        assert_eq!(base64("dXNlcjpwYXNz").as_deref(), Some("user:pass"));
        assert_eq!(base64("dTpw").as_deref(), Some("u:p"));
        assert_eq!(base64("dTo=").as_deref(), Some("u:"));
        assert_eq!(base64("!"), None);
    }

    #[test]
    fn a_form_has_its_fields_unchanged() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT\r\n1\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\n\r\n--b--\r\n";
        let fields = multipart(body.as_bytes(), "b").unwrap();
        assert_eq!(
            fields,
            [("query".into(), "SELECT\r\n1".into()), ("param_a".into(), String::new())]
        );
        assert!(multipart(&body.as_bytes()[..40], "b").is_err());
    }
}
