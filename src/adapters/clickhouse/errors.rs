//! Which errors are temporary and which are permanent.

use std::error::Error as _;
use std::fmt::Write as _;

use ::clickhouse::error::Error;

use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TABLES;

/// Error codes of an insert that its rows cause, and that would occur again. All other errors are
/// retried: an operator frees a full disk or creates a missing table, and such events must not end
/// up in the failed list.
const REFUSALS: &[i32] = &[
    6,   // CANNOT_PARSE_TEXT
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,  // CANNOT_READ_ALL_DATA
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    53,  // TYPE_MISMATCH
    69,  // ARGUMENT_OUT_OF_BOUND
    70,  // CANNOT_CONVERT_TYPE
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    131, // TOO_LARGE_STRING_SIZE
    153, // ILLEGAL_DIVISION
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    407, // DECIMAL_OVERFLOW
    467, // CANNOT_PARSE_BOOL
    469, // VIOLATED_CONSTRAINT
    675, // CANNOT_PARSE_IPV4
    676, // CANNOT_PARSE_IPV6
    691, // UNKNOWN_ELEMENT_OF_ENUM
];

/// TOO_MANY_PARTS, which is also the code of a block with too many partitions.
const TOO_MANY_PARTS: i32 = 252;

/// TIMEOUT_EXCEEDED.
pub(super) const TIMEOUT_EXCEEDED: i32 = 159;

/// Error codes of a query that depend on the server's state, not on the query.
const TRANSIENT: &[i32] = &[
    3,    // UNEXPECTED_END_OF_FILE
    74,   // CANNOT_READ_FROM_FILE_DESCRIPTOR
    159,  // TIMEOUT_EXCEEDED
    160,  // TOO_SLOW
    202,  // TOO_MANY_SIMULTANEOUS_QUERIES
    209,  // SOCKET_TIMEOUT
    210,  // NETWORK_ERROR
    225,  // NO_ZOOKEEPER
    241,  // MEMORY_LIMIT_EXCEEDED
    242,  // TABLE_IS_READ_ONLY
    243,  // NOT_ENOUGH_SPACE
    252,  // TOO_MANY_PARTS
    319,  // UNKNOWN_STATUS_OF_INSERT
    394,  // QUERY_WAS_CANCELLED
    439,  // CANNOT_SCHEDULE_TASK
    497,  // ACCESS_DENIED
    516,  // AUTHENTICATION_FAILED
    999,  // KEEPER_EXCEPTION
    1000, // POCO_EXCEPTION
    1001, // STD_EXCEPTION
    1002, // UNKNOWN_EXCEPTION
];

/// Why an insert failed. Some of its rows may have been stored.
#[derive(Debug)]
pub(super) enum InsertError {
    /// The rows are at fault, and would be again.
    Rows(String),
    /// The block has rows of more partitions than the server accepts at once.
    Partitions(String),
    /// The rows are good, but a materialized view fails on them, and would again.
    View(String),
    /// A materialized view failed; it may work later.
    ViewForNow(String),
    /// Anything else, which may work later.
    Unavailable(String),
}

impl From<InsertError> for StoreError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Rows(reason) => Self::Refused(reason),
            InsertError::Partitions(reason)
            | InsertError::View(reason)
            | InsertError::ViewForNow(reason)
            | InsertError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<StoreError> for InsertError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(reason) => Self::Rows(reason),
            StoreError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// Classifies the error of an insert.
pub(super) fn of_insert(error: &Error) -> InsertError {
    let text = text(error);
    let refused = code(error).is_some_and(|code| REFUSALS.contains(&code));
    match (view(&text).or(missing_target(&text)), code(error)) {
        (Some(_), _) if refused => InsertError::View(text),
        (Some(_), _) => InsertError::ViewForNow(text),
        (None, _) if refused => InsertError::Rows(text),
        (None, Some(TOO_MANY_PARTS)) if text.contains("Too many partitions") => {
            InsertError::Partitions(text)
        }
        (None, _) => InsertError::Unavailable(text),
    }
}

/// Classifies the error of a generated statement, which is never the events' fault.
pub(super) fn of_statement(error: &Error) -> StoreError {
    StoreError::Unavailable(text(error))
}

/// Classifies the error of a user's query. Advice about inserts does not apply to it.
pub(super) fn of_query(error: &Error) -> StoreError {
    let mut text = message(error);
    let advice = advice(code(error), &text);
    if advice == MIGRATE || advice == CHECK_USER {
        text.push_str(&advice);
    }
    match code(error) {
        Some(code) if !TRANSIENT.contains(&code) => StoreError::Refused(text),
        _ => StoreError::Unavailable(text),
    }
}

/// The error code in ClickHouse's message: `Code: 252. DB::Exception: …`.
pub(super) fn code(error: &Error) -> Option<i32> {
    let Error::BadResponse(reason) = error else { return None };
    let digits = reason.split_once("Code: ")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// What happened and what to do about it, on one line.
fn text(error: &Error) -> String {
    let mut text = message(error);
    text.push_str(&advice(code(error), &text));
    text
}

/// What happened, on one line.
fn message(error: &Error) -> String {
    match error {
        Error::BadResponse(reason) => tidy(reason),
        Error::TimedOut => "no response from ClickHouse in time".to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = other.source().and_then(std::error::Error::source);
            while let Some(cause) = source {
                // Writing to a String cannot fail.
                let _ = write!(text, ": {cause}");
                source = cause.source();
            }
            text
        }
    }
}

/// The advice where tables or columns are missing.
const MIGRATE: &str = "; run `bklit-tui migrate`";

/// The advice where the server does not accept the user.
const CHECK_USER: &str = "; check the user, its password and its permissions";

/// What to do about an error. `migrate` only creates and extends our own tables.
fn advice(code: Option<i32>, text: &str) -> String {
    if let Some(target) = missing_target(text) {
        return format!(
            "; a materialized view writes to {target}, which does not exist: create that again, or \
             drop the view, which `bklit-tui doctor` names"
        );
    }
    if let Some(view) = view(text) {
        return format!(
            "; the insert fails in the materialized view {view}: correct the view or what it \
             writes to, or drop it (`DROP VIEW {view}`)"
        );
    }
    let is_ours = |known: &str| words(text).any(|word| word == known);
    let names_table = TABLES.iter().any(|table| is_ours(table.name));
    let names_column =
        TABLES.iter().flat_map(|table| table.columns).any(|column| is_ours(column.name));
    match code {
        Some(81) => MIGRATE,
        Some(60) if names_table || text.contains("bklit") => MIGRATE,
        Some(16) if names_column => MIGRATE,
        Some(60) => "; something that the insert depends on is missing: create it again",
        Some(16 | 47) => {
            "; a column's default, a constraint or a view of the table uses a column that does not \
             exist: `SHOW CREATE TABLE` shows it"
        }
        Some(TOO_MANY_PARTS) if text.contains("Too many partitions") => {
            "; the table has too fine a partition key: `SHOW CREATE TABLE` shows it"
        }
        Some(TOO_MANY_PARTS) => "; merges are behind, see system.merges",
        Some(164) => "; the user may only read, or not change settings: use another user",
        Some(452) => "; the user's profile does not allow the setting: remove the constraint",
        Some(497 | 516) => CHECK_USER,
        _ => "",
    }
    .to_owned()
}

/// The words of a message.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The table that a materialized view cannot write to, because it does not exist. The view that the
/// message names in addition may be the table that was inserted into.
fn missing_target(text: &str) -> Option<&str> {
    let (target, rest) = text.split_once("Target table '")?.1.split_once('\'')?;
    rest.starts_with(" of view ").then_some(target)
}

/// The materialized view in which an insert fails: `while pushing to view db.name (uuid)`.
fn view(text: &str) -> Option<&str> {
    let name = text.split_once("while pushing to view ")?.1;
    let name = name.split([' ', '\'', '(', ',', ':', ';']).next()?.trim_end_matches('.');
    (!name.is_empty()).then_some(name)
}

/// The message without version, exception class and line breaks, at most 1,000 characters.
fn tidy(reason: &str) -> String {
    const LONGEST: usize = 1000;
    let reason = reason.split(" (version ").next().unwrap_or(reason);
    let reason = reason.replace("DB::Exception: ", "");
    let one_line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() > LONGEST {
        one_line.chars().take(LONGEST).chain(['…']).collect()
    } else {
        one_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(reason: &str) -> Error {
        Error::BadResponse(reason.to_owned())
    }

    #[test]
    fn the_code_decides_whether_an_error_is_temporary() {
        let refused = |reason: &str| matches!(of_insert(&bad(reason)), InsertError::Rows(_));
        assert!(refused(
            "Code: 469. DB::Exception: Constraint `c` is violated (VIOLATED_CONSTRAINT)"
        ));
        for transient in [
            "Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)",
            "Code: 241. DB::Exception: Memory limit exceeded",
            "Code: 60. DB::Exception: Table does not exist",
            "502 Bad Gateway",
            "Code: 4690. DB::Exception: unlisted code",
            "",
        ] {
            assert!(!refused(transient), "{transient}");
        }
        assert!(matches!(of_insert(&Error::TimedOut), InsertError::Unavailable(_)));
    }

    #[test]
    fn a_query_gets_no_advice_about_inserts() {
        let said = |reason: &str| of_query(&bad(reason)).to_string();
        let read_only =
            "Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)";
        assert!(said(read_only).ends_with("(READONLY)"), "{}", said(read_only));
        let unknown = "Code: 47. DB::Exception: Unknown expression identifier `nothing`";
        assert!(said(unknown).ends_with("`nothing`"), "{}", said(unknown));
        assert!(said("Code: 60. DB::Exception: Table page_view_event").ends_with(MIGRATE));
        assert!(said("Code: 516. DB::Exception: Authentication failed").ends_with(CHECK_USER));
    }

    #[test]
    fn the_kind_of_a_failed_insert_is_recognized() {
        let parse = "Code: 6. DB::Exception: Cannot parse string 'abc' as UInt8";
        let in_view = format!("{parse}: while pushing to view a.v. (CANNOT_PARSE_TEXT)");
        assert!(
            matches!(of_insert(&bad(&in_view)), InsertError::View(text) if text.contains("a.v"))
        );
        let unknown = "Code: 60. DB::Exception: Unknown table a.names: while pushing to view a.v.";
        let target = "Code: 60. DB::Exception: Target table 'a.t' of view 'a.v' doesn't exists.";
        for reason in [unknown, target] {
            assert!(matches!(of_insert(&bad(reason)), InsertError::ViewForNow(_)), "{reason}");
        }
        let partitions = "Code: 252. DB::Exception: Too many partitions for single INSERT block \
                          (more than 100). The limit is controlled by \
                          'max_partitions_per_insert_block' setting.";
        assert!(matches!(of_insert(&bad(partitions)), InsertError::Partitions(_)));
    }

    #[test]
    fn a_reason_is_one_line_with_advice() {
        let text = |error| StoreError::from(of_insert(&error)).to_string();
        let error = text(bad(
            "Code: 60. DB::Exception: Table a.tracked_event does\nnot exist. (UNKNOWN_TABLE) (version 26.5.1.1)",
        ));
        let expected = "the store is unavailable: Code: 60. Table a.tracked_event does not exist. \
                        (UNKNOWN_TABLE); run `bklit-tui migrate`";
        assert_eq!(error, expected);
        for (reason, advice) in [
            ("Code: 60. DB::Exception: Table a.other does not exist", "create it again"),
            ("Code: 16. DB::Exception: No such column lat in table a.x", "run `bklit-tui migrate`"),
            ("Code: 16. DB::Exception: There's no column 'x' in table", "SHOW CREATE TABLE"),
            ("Code: 47. DB::Exception: Missing columns: 'x'", "SHOW CREATE TABLE"),
            (
                "Code: 60. DB::Exception: Target table 'a.t' of view 'a.v' doesn't exists. (X)",
                "materialized view writes to a.t,",
            ),
            (
                "Code: 47. DB::Exception: Unknown identifier: while pushing to view a.v (0a-1). (X)",
                "materialized view a.v:",
            ),
        ] {
            let text = text(bad(reason));
            assert!(text.contains(advice), "{text}");
            assert_eq!(text.contains("migrate"), advice.contains("migrate"), "{text}");
        }
    }
}
