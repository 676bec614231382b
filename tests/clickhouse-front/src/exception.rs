//! ClickHouse's errors and the HTTP status that each is answered with.

use hyper::StatusCode;

/// An error as ClickHouse words it.
#[derive(Debug)]
pub struct Exception {
    pub code: i32,
    pub text: String,
}

impl Exception {
    /// Reads the code out of the engine's text.
    pub fn from_engine(text: String) -> Self {
        let code = text
            .strip_prefix("Code: ")
            .and_then(|rest| rest.split('.').next())
            .and_then(|code| code.parse().ok())
            .unwrap_or(1001);
        // An error that passed through the engine twice repeats its text.
        let prefix = format!("Code: {code}. DB::Exception: ");
        let inner = text.strip_prefix(&prefix).filter(|inner| inner.starts_with(&prefix));
        let text = match inner.and_then(|inner| inner.split_once(" (version ")) {
            Some((once, _)) => once.to_owned(),
            None => text,
        };
        Exception { code, text }
    }

    /// An error of this program.
    pub fn new(code: i32, message: &str) -> Self {
        Exception { code, text: format!("Code: {code}. DB::Exception: {message}") }
    }

    /// The same mapping as the server's.
    pub fn status(&self) -> StatusCode {
        match self.code {
            // Parsing, of SQL or of data.
            6 | 25 | 26 | 27 | 38 | 41 | 53 | 62 | 72 | 117 => StatusCode::BAD_REQUEST,
            // Unknown function, identifier, type, storage, table, format, database, setting, …
            46 | 47 | 50 | 51 | 56 | 60 | 63 | 73 | 81 | 115 => StatusCode::NOT_FOUND,
            66 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            192 | 193 | 516 => StatusCode::FORBIDDEN,
            194 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exception;

    #[test]
    fn the_code_is_read_from_the_text() {
        let exception = Exception::from_engine("Code: 60. DB::Exception: no table t.".into());
        assert_eq!((exception.code, exception.status().as_u16()), (60, 404));
        let exception = Exception::from_engine("something else".into());
        assert_eq!((exception.code, exception.status().as_u16()), (1001, 500));
        let twice =
            "Code: 27. DB::Exception: Code: 27. DB::Exception: Cannot parse. (X) (version 26). (X)";
        let exception = Exception::from_engine(twice.into());
        assert_eq!(exception.text, "Code: 27. DB::Exception: Cannot parse. (X)");
    }
}
