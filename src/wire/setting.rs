//! Deserialisation of settings: secrets, values that are text in the environment but typed in a
//! file, and the report about an invalid one.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A setting with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSetting {
    /// The setting's key.
    pub key: String,
    /// What is wrong with its value.
    pub rule: String,
}

/// Text that is never shown with the other settings.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(SecretText).map(Self)
    }
}

/// Accepts text only. Unlike serde's own, its error does not repeat the rejected value.
struct SecretText;

impl SecretText {
    fn refuse<T, E: Error>() -> Result<T, E> {
        Err(E::custom("must be text: put the value in quotes"))
    }
}

impl Visitor<'_> for SecretText {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        Self::refuse()
    }
}

impl std::fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BooleanOrText {
    Boolean(bool),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PortOrText {
    Port(u16),
    Text(String),
}

/// Reads an address to listen on: an IP address with a port, or a port alone, for this machine
/// only.
///
/// # Errors
/// For anything else.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = match PortOrText::deserialize(deserializer)? {
        PortOrText::Port(port) => port.to_string(),
        PortOrText::Text(text) => text,
    };
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    text.parse::<SocketAddr>().ok().or_else(|| text.parse().ok().map(local)).ok_or_else(|| {
        D::Error::custom(format!(
            "`{text}` is not an address to listen on; write IP:PORT, such as 127.0.0.1:3001 (this \
             machine only) or 0.0.0.0:3001 (all its addresses), or a port alone for this machine only"
        ))
    })
}

/// Reads an address that may be absent, otherwise as [`address`].
///
/// # Errors
/// As [`address`].
pub fn optional_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrText {
    List(Vec<String>),
    Text(String),
}

/// Reads a list, or text with comma-separated members.
///
/// # Errors
/// For anything else.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => {
            let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
            members.map(str::to_owned).collect()
        }
    })
}

/// Reads a list that may be absent, otherwise as [`list`].
///
/// # Errors
/// As [`list`].
pub fn optional_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    list(deserializer).map(Some)
}

/// Reads a boolean, or text such as `yes`, `off` or `1`.
///
/// # Errors
/// For anything else.
pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match BooleanOrText::deserialize(deserializer)? {
        BooleanOrText::Boolean(value) => Ok(value),
        BooleanOrText::Text(text) => match text.as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            other => Err(D::Error::custom(format!("expected true or false, got `{other}`"))),
        },
    }
}
