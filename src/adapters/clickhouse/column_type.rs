//! Types of columns on the server, and the binary form of values in them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use bklit_pipeline::store::rows::Cell;
use bklit_pipeline::store::schema::ColumnType;
use bklit_wire::time::UtcMillis;

/// Characters of a value that an error quotes.
const QUOTED: usize = 60;

/// A type to which values of a [`ColumnType`] can be converted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerType {
    /// `String`.
    Text,
    /// `FixedString`, with its length in bytes.
    FixedText(usize),
    /// `Enum8` or `Enum16`: its values, and their size in bytes.
    Enum(HashMap<String, i16>, usize),
    /// `IPv4`.
    Ipv4,
    /// `IPv6`.
    Ipv6,
    /// `DateTime`: seconds since the epoch, whatever its time zone.
    Seconds,
    /// `DateTime64`: ticks since the epoch; the number of its decimals.
    Ticks(u32),
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `Bool`, `Int8` to `Int64`, `UInt8` to `UInt64`: size in bytes, and whether it is signed.
    Integer(usize, bool),
}

/// A column's type without `LowCardinality` and `Nullable`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parsed<'a> {
    /// The type's name.
    pub(super) name: &'a str,
    pub(super) nullable: bool,
    pub(super) value: ServerType,
}

/// The type with this name; `None` if it cannot store every ordinary value of `kind`.
pub(super) fn parse(kind: ColumnType, type_name: &str) -> Option<Parsed<'_>> {
    let plain = arguments(type_name, "LowCardinality").unwrap_or(type_name);
    let inner = arguments(plain, "Nullable");
    let name = inner.unwrap_or(plain);
    let value = match kind {
        ColumnType::Text => text(name),
        ColumnType::DateTime => moment(name),
        ColumnType::Float64 => match name {
            "Float64" => Some(ServerType::Float64),
            "Float32" => Some(ServerType::Float32),
            _ => None,
        },
        ColumnType::Int32 | ColumnType::Bool => integer(kind, name),
    };
    Some(Parsed { name, nullable: inner.is_some(), value: value? })
}

/// `String` of `Nullable(String)`.
fn arguments<'a>(type_name: &'a str, outer: &str) -> Option<&'a str> {
    type_name.strip_prefix(outer)?.strip_prefix('(')?.strip_suffix(')')
}

fn text(name: &str) -> Option<ServerType> {
    if let Some(length) = arguments(name, "FixedString") {
        return Some(ServerType::FixedText(length.parse().ok()?));
    }
    if let Some(values) = arguments(name, "Enum8") {
        return Some(ServerType::Enum(enum_values(values)?, 1));
    }
    if let Some(values) = arguments(name, "Enum16") {
        return Some(ServerType::Enum(enum_values(values)?, 2));
    }
    match name {
        "String" => Some(ServerType::Text),
        "IPv4" => Some(ServerType::Ipv4),
        "IPv6" => Some(ServerType::Ipv6),
        _ => None,
    }
}

fn moment(name: &str) -> Option<ServerType> {
    if name == "DateTime" || arguments(name, "DateTime").is_some() {
        return Some(ServerType::Seconds);
    }
    let precision = arguments(name, "DateTime64")?.split(',').next()?;
    Some(ServerType::Ticks(precision.trim().parse().ok().filter(|decimals| *decimals <= 9)?))
}

fn integer(kind: ColumnType, name: &str) -> Option<ServerType> {
    if name == "Bool" {
        return (kind == ColumnType::Bool).then_some(ServerType::Integer(1, false));
    }
    let (bits, signed) = match name.strip_prefix("UInt") {
        Some(bits) => (bits, false),
        None => (name.strip_prefix("Int")?, true),
    };
    let size = match bits {
        "8" => 1,
        "16" => 2,
        "32" => 4,
        "64" => 8,
        _ => return None,
    };
    (kind == ColumnType::Bool || size >= 4).then_some(ServerType::Integer(size, signed))
}

/// The values in `'a' = 1, 'it\'s' = 2`.
fn enum_values(mut rest: &str) -> Option<HashMap<String, i16>> {
    let mut values = HashMap::new();
    while !rest.is_empty() {
        let mut name = String::new();
        let mut chars = rest.strip_prefix('\'')?.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '\'') => break at + 1,
                (_, '\\') => name.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '0' => '\0',
                    'b' => '\x08',
                    'f' => '\x0c',
                    other => other,
                }),
                (_, other) => name.push(other),
            }
        };
        rest = rest.get(end + 1..)?.strip_prefix(" = ")?;
        let number = rest.find(',').map_or(rest, |end| &rest[..end]);
        values.insert(name, number.parse().ok()?);
        rest = rest[number.len()..].trim_start_matches([',', ' ']);
    }
    Some(values)
}

impl ServerType {
    /// Adds a value that is not NULL.
    ///
    /// # Errors
    /// Why the type cannot store it.
    pub(super) fn push(&self, cell: &Cell<'_>, into: &mut Vec<u8>) -> Result<(), String> {
        match (self, cell) {
            (Self::Text, Cell::Text(text)) => {
                push_text(text, into);
                Ok(())
            }
            (_, Cell::Text(text)) => self.push_constrained(text, into),
            (Self::Float32, Cell::Real(number)) => {
                into.extend((*number as f32).to_le_bytes());
                Ok(())
            }
            (_, Cell::Real(number)) => {
                into.extend(number.to_le_bytes());
                Ok(())
            }
            (_, Cell::Bool(yes)) => self.push_integer((*yes).into(), into),
            (_, Cell::Int(number)) => self.push_integer((*number).into(), into),
            (_, Cell::Millis(number)) => self.push_integer(*number, into),
            (_, Cell::Moment(moment)) => {
                self.push_moment(*moment, into);
                Ok(())
            }
            (_, Cell::Null) => {
                self.push_defaults(1, into);
                Ok(())
            }
        }
    }

    /// Adds the type's default so many times. The server replaces it with NULL or the column's own
    /// default.
    pub(super) fn push_defaults(&self, count: usize, into: &mut Vec<u8>) {
        let size = match self {
            Self::Text => 1,
            Self::FixedText(length) => *length,
            Self::Enum(values, size) => {
                let least = values.values().min().copied().unwrap_or_default().to_le_bytes();
                let bytes = least.get(..*size).unwrap_or_default();
                into.extend(bytes.iter().cycle().take(size * count));
                return;
            }
            Self::Ipv4 | Self::Seconds | Self::Float32 => 4,
            Self::Ticks(_) | Self::Float64 => 8,
            Self::Ipv6 => 16,
            Self::Integer(size, _) => *size,
        };
        into.resize(into.len() + size * count, 0);
    }

    fn push_constrained(&self, text: &str, into: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::FixedText(length) => {
                if text.len() > *length {
                    return Err(format!("{} is longer than {length} bytes", quoted(text)));
                }
                into.extend(text.as_bytes());
                into.resize(into.len() + length - text.len(), 0);
            }
            Self::Enum(values, size) => {
                let value =
                    values.get(text).ok_or_else(|| format!("unknown value {}", quoted(text)))?;
                into.extend(value.to_le_bytes().get(..*size).unwrap_or_default());
            }
            Self::Ipv4 => {
                let address: Ipv4Addr =
                    text.parse().map_err(|_| format!("{} is not an IPv4 address", quoted(text)))?;
                into.extend(address.to_bits().to_le_bytes());
            }
            Self::Ipv6 => {
                let address = match text.parse() {
                    Ok(IpAddr::V4(address)) => address.to_ipv6_mapped(),
                    Ok(IpAddr::V6(address)) => address,
                    Err(_) => return Err(format!("{} is not an IP address", quoted(text))),
                };
                into.extend(address.octets());
            }
            _ => push_text(text, into),
        }
        Ok(())
    }

    fn push_integer(&self, number: i64, into: &mut Vec<u8>) -> Result<(), String> {
        let Self::Integer(size, signed) = self else {
            into.extend(number.to_le_bytes());
            return Ok(());
        };
        let bits = *size as u32 * 8;
        let fits = match (signed, bits) {
            (true, 64) => true,
            (false, 64) => number >= 0,
            (true, bits) => (-(1 << (bits - 1))..1 << (bits - 1)).contains(&number),
            (false, bits) => (0..1 << bits).contains(&number),
        };
        if !fits {
            return Err(format!("{number} is out of range"));
        }
        into.extend(number.to_le_bytes().get(..*size).unwrap_or_default());
        Ok(())
    }

    fn push_moment(&self, moment: UtcMillis, into: &mut Vec<u8>) {
        let millis = moment.epoch_millis();
        match self {
            Self::Ticks(decimals @ 0..3) => {
                into.extend(millis.div_euclid(10_i64.pow(3 - decimals)).to_le_bytes());
            }
            Self::Ticks(decimals) => {
                into.extend(millis.saturating_mul(10_i64.pow(decimals - 3)).to_le_bytes());
            }
            _ => {
                let seconds = u32::try_from(moment.epoch_seconds()).unwrap_or(u32::MAX);
                into.extend(seconds.to_le_bytes());
            }
        }
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Adds a text with its length.
pub(super) fn push_text(text: &str, into: &mut Vec<u8>) {
    push_length(text.len(), into);
    into.extend(text.as_bytes());
}

/// Adds a length in a variable number of bytes.
pub(super) fn push_length(mut length: usize, into: &mut Vec<u8>) {
    while length >= 0x80 {
        into.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    into.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnType::{Bool, DateTime, Float64, Int32, Text};

    #[test]
    fn each_type_is_recognized() {
        let parsed = |kind, name| parse(kind, name).map(|parsed| (parsed.nullable, parsed.value));
        assert_eq!(parsed(Text, "String"), Some((false, ServerType::Text)));
        let low = "LowCardinality(Nullable(String))";
        assert_eq!(parsed(Text, low), Some((true, ServerType::Text)));
        assert_eq!(parse(Text, low).unwrap().name, "String");
        let fixed = parsed(Text, "LowCardinality(FixedString(3))");
        assert_eq!(fixed, Some((false, ServerType::FixedText(3))));
        assert_eq!(parsed(Text, "Nullable(IPv4)"), Some((true, ServerType::Ipv4)));
        assert_eq!(parsed(Text, "UUID"), None);
        assert_eq!(parsed(DateTime, "DateTime('Europe/Oslo')"), Some((false, ServerType::Seconds)));
        for name in ["DateTime64(3)", "DateTime64(3, 'Europe/Oslo')"] {
            assert_eq!(parsed(DateTime, name), Some((false, ServerType::Ticks(3))));
        }
        assert_eq!(parsed(DateTime, "Date"), None);
        assert_eq!(parsed(DateTime, "DateTime64(19)"), None);
        assert_eq!(parsed(Float64, "Float32"), Some((false, ServerType::Float32)));
        assert_eq!(parsed(Bool, "Nullable(Int8)"), Some((true, ServerType::Integer(1, true))));
        assert_eq!(parsed(Int32, "UInt64"), Some((false, ServerType::Integer(8, false))));
        assert_eq!(parsed(Int32, "Int8"), None, "most values do not fit");
        assert_eq!(parsed(Int32, "Bool"), None);
    }

    #[test]
    fn the_values_of_an_enum_are_unescaped() {
        let values = enum_values(r"'' = -1, 'a, b' = 2, 'it\'s \\ \n' = 300").unwrap();
        let expected = [("", -1), ("a, b", 2), ("it's \\ \n", 300)];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(enum_values("'a = 1"), None);
    }

    fn bytes(kind: ColumnType, name: &str, cell: &Cell<'_>) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        parse(kind, name).unwrap().value.push(cell, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn values_that_do_not_fit_are_errors() {
        let text = |name: &str, text: &str| bytes(Text, name, &text.into());
        assert_eq!(text("FixedString(4)", "abc").unwrap(), b"abc\0");
        assert_eq!(text("FixedString(2)", "abc").unwrap_err(), "\"abc\" is longer than 2 bytes");
        assert_eq!(text("Enum16('a' = 258)", "a").unwrap(), [2, 1]);
        assert_eq!(text("Enum8('a' = -1)", "a").unwrap(), [255]);
        assert_eq!(text("Enum8('a' = 1)", "b").unwrap_err(), "unknown value \"b\"");
        assert_eq!(text("IPv4", "1.2.3.4").unwrap(), [4, 3, 2, 1]);
        assert_eq!(text("IPv4", "::1").unwrap_err(), "\"::1\" is not an IPv4 address");
        assert_eq!(text("IPv6", "1.2.3.4").unwrap()[10..], [255, 255, 1, 2, 3, 4]);
        assert!(text("IPv6", &"x".repeat(1000)).unwrap_err().len() < 100);
        for (name, least, most) in [
            ("UInt64", 0, i32::MAX),
            ("Int64", i32::MIN, i32::MAX),
            ("Int32", i32::MIN, i32::MAX),
            ("UInt32", 0, i32::MAX),
        ] {
            let fits = |number| bytes(Int32, name, &Cell::Int(number)).is_ok();
            assert!(fits(least) && fits(most), "{name}");
            assert!(least == i32::MIN || !fits(-1), "{name}");
        }
    }

    #[test]
    fn moments_have_the_precision_of_the_column() {
        let ticks = |name: &str| {
            let cell = Cell::Moment(UtcMillis::from_epoch_millis(1_234));
            bytes(DateTime, name, &cell).unwrap()
        };
        assert_eq!(ticks("DateTime"), 1_u32.to_le_bytes());
        assert_eq!(ticks("DateTime64(0)"), 1_i64.to_le_bytes());
        assert_eq!(ticks("DateTime64(2)"), 123_i64.to_le_bytes());
        assert_eq!(ticks("DateTime64(3)"), 1_234_i64.to_le_bytes());
        assert_eq!(ticks("DateTime64(9)"), 1_234_000_000_i64.to_le_bytes());
    }
}
