//! `refused`: shows the events that a process has refused, and sends them again.

use std::process::ExitCode;

use color_eyre::Result;
use color_eyre::eyre::{Report, bail, eyre};
use serde_json::value::RawValue;
use url::Url;

use super::print;
use crate::cli::{RefusedArgs, RefusedCommand, SourceArgs};
use crate::client;
use crate::config::Settings;
use bklit_pipeline::intake::without_skew;
use bklit_remote::backend::{RemoteBackend, UNREACHABLE};
use bklit_wire::json::{Fields, object, repaired};
use bklit_wire::refused::{REMOVED, RefusedEvent, RefusedGroup};
use bklit_wire::table::Table;
use bklit_wire::text::{clip, safe, safe_json};
use bklit_wire::time::UtcMillis;

/// The widest cell, in columns, of texts that clients choose.
const MAX_CELL: usize = 48;

/// Runs the subcommand. The exit code is 1 if an event was not accepted.
///
/// # Errors
/// When the process cannot be asked, or there is no such event.
pub async fn run(args: &RefusedArgs, settings: &Settings) -> Result<ExitCode> {
    match &args.command {
        RefusedCommand::List { source, project, json } => {
            let (_, backend) = connect(source, settings)?;
            let query: Vec<_> = project.iter().map(|project| ("project", &**project)).collect();
            let view = backend.refused(&query).await.map_err(explained)?;
            print(&match json {
                true => lines(&view.groups)?,
                false => format!(
                    "{}\n{} refused since {}\n",
                    table(&view.groups),
                    view.total,
                    view.since
                ),
            })?;
        }
        RefusedCommand::Show { id, source } => {
            let (_, backend) = connect(source, settings)?;
            let event = find(&backend, *id).await?;
            let json = serde_json::to_string_pretty(&event)?;
            print(&json.lines().map(|line| format!("{}\n", safe_json(line))).collect::<String>())?;
        }
        RefusedCommand::Resend { ids, source, ingest_token } => {
            return resend(ids, source, ingest_token.as_deref(), settings).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The base URL of the process, and its API.
fn connect(source: &SourceArgs, settings: &Settings) -> Result<(String, RemoteBackend)> {
    let base = client::base_url(source.url.as_deref(), settings)?;
    let token = client::given_token(source.token.as_deref());
    let backend = RemoteBackend::new(client::connect(settings)?, &base, token.as_deref());
    Ok((base, backend.map_err(|error| eyre!(error))?))
}

/// An error of the backend, with what to do if no pipeline answers.
fn explained(error: String) -> Report {
    if error.starts_with(UNREACHABLE) {
        return eyre!(
            "{error}; start bklit-tui there, or give the URL of a running pipeline with --url or its \
             data dir with --data-dir"
        );
    }
    eyre!(error)
}

async fn find(backend: &RemoteBackend, id: u64) -> Result<RefusedEvent> {
    let view = backend.refused(&[("id", &id.to_string())]).await.map_err(explained)?;
    let event = view.recent.into_iter().next();
    event.ok_or_else(|| eyre!("no refused event {id}; it may have been dropped"))
}

fn lines(groups: &[RefusedGroup]) -> Result<String> {
    let mut text = String::new();
    for group in groups {
        text += &safe_json(&serde_json::to_string(group)?);
        text.push('\n');
    }
    Ok(text)
}

fn table(groups: &[RefusedGroup]) -> Table {
    let names = ["COUNT", "LAST", "STATUS", "ERROR", "PROJECT", "PAGE", "TOKEN", "SAMPLE"];
    let mut table = Table::new(names).right_aligned(0);
    for group in groups {
        let text =
            |text: &Option<String>| clip(text.as_deref().unwrap_or("-"), MAX_CELL).to_string();
        let sample =
            group.sample.as_ref().map_or_else(|| "-".to_owned(), |event| event.id.to_string());
        table.push([
            group.count.to_string(),
            group.last.to_string(),
            group.status.to_string(),
            clip(&group.error, MAX_CELL).to_string(),
            text(&group.project),
            text(&group.page),
            text(&group.token),
            sample,
        ]);
    }
    table
}

async fn resend(
    ids: &[u64],
    source: &SourceArgs,
    ingest_token: Option<&str>,
    settings: &Settings,
) -> Result<ExitCode> {
    let (base, backend) = connect(source, settings)?;
    let token = match ingest_token {
        Some(token) => token.to_owned(),
        None => client::stored_token(&settings.data_dir)?,
    };
    let sender = RemoteBackend::new(client::connect(settings)?, &base, Some(&token));
    let sender = sender.map_err(|error| eyre!(error))?;
    let mut exit = ExitCode::SUCCESS;
    for &id in ids {
        let result = match find(&backend, id).await.and_then(|event| Again::of(&event)) {
            Ok(Again { path, origin, json }) => {
                let sent = sender.send_event(path, origin.as_deref(), json).await;
                sent.map_err(|error| format!("refused: {error}"))
            }
            Err(error) => Err(format!("not sent: {error}")),
        };
        let line = match result {
            Ok(event) => format!("accepted as {event}"),
            Err(error) => {
                exit = ExitCode::FAILURE;
                error
            }
        };
        print(&format!("{id}: {}\n", safe(&line)))?;
    }
    Ok(exit)
}

fn origin(event: &RefusedEvent) -> Option<String> {
    let origin = Url::parse(event.page.as_deref()?).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// An event as it is sent again.
struct Again {
    path: &'static str,
    origin: Option<String>,
    json: String,
}

impl Again {
    /// With the time at which it happened, and with an id, so that it is stored once however often it
    /// is sent again.
    fn of(event: &RefusedEvent) -> Result<Self> {
        let path = match event.kind.as_deref() {
            Some("pageview") => "/track",
            Some("event") => "/track-event",
            Some("session_end") => "/session-end",
            // Nothing is known about the type then either.
            _ if event.body.is_none() => bail!("its body was not kept"),
            _ => bail!("it is not an event of a known type"),
        };
        let Some(body) = event.body.as_deref() else { bail!("its body was not kept") };
        if event.truncated {
            bail!("its body was too large to be kept as a whole");
        }
        let fields = |json| Fields::of(json).ok_or_else(|| eyre!("it is not a JSON object"));
        let body = repaired(body);
        let outer = fields(&body)?;
        // Members of batches and messages of sockets may have their fields in `data`.
        let body = match (given(&outer, "type"), given(&outer, "data")) {
            (Some(_), Some(data)) => data,
            _ => &body,
        };
        if body.contains(REMOVED) {
            bail!("secrets or addresses were removed from it, so it is not what was sent");
        }
        let json = completed(event, fields(body)?)?;
        Ok(Self { path, origin: origin(event), json })
    }
}

/// The value of a field, unless it is null.
fn given<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    fields.get(name).map(RawValue::get).filter(|value| *value != "null")
}

/// The event with id, project and time. The time is corrected by when it was first sent, as
/// `sentAt` says nothing about the request that sends it now.
fn completed(event: &RefusedEvent, mut fields: Fields<'_>) -> Result<String> {
    let time = |name| given(&fields, name).and_then(|json| serde_json::from_str(json).ok());
    let corrected = match (time("timestamp"), time("sentAt")) {
        (Some(moment), Some(sent_at)) => without_skew(moment, sent_at, event.at),
        _ => None,
    };
    let default = |name, value: String| given(&fields, name).is_none().then_some((name, value));
    let id = format!("refused-{}-{}", event.at.epoch_millis(), event.id);
    let project = event.project.clone().and_then(|project| default("projectId", project));
    let time = corrected
        .map(|moment: UtcMillis| ("timestamp", moment.to_string()))
        .or_else(|| default("timestamp", event.at.to_string()));
    let set: Vec<_> = [default("eventId", id), time, project].into_iter().flatten().collect();
    fields.0.retain(|(name, _)| name != "sentAt" && !set.iter().any(|(own, _)| own == name));
    let mut values = Vec::with_capacity(set.len());
    for (name, value) in set {
        values.push((name, serde_json::to_string(&value)?));
    }
    let set = values.iter().map(|(name, value)| (*name, value.as_str()));
    Ok(object(set.chain(fields.0.iter().map(|(name, value)| (&**name, value.get())))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(kind: Option<&str>, body: &str, truncated: bool) -> RefusedEvent {
        let json = json!({
            "id": 7, "at": "2026-01-31T12:00:00.000Z", "reason": "queue", "status": 503,
            "error": "full", "project": "p", "page": "https://a.example/x", "path": "/track",
            "type": kind, "body": body, "truncated": truncated,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_was_not_kept_is_not_sent_again() {
        let without = |kind: Option<&str>| {
            let event = RefusedEvent { body: None, ..event(kind, "", false) };
            Again::of(&event).err().unwrap().to_string()
        };
        assert_eq!(without(None), "its body was not kept");
        assert_eq!(without(Some("pageview")), "its body was not kept");
        let error =
            |kind, truncated| Again::of(&event(kind, "{", truncated)).err().unwrap().to_string();
        assert_eq!(error(Some("event"), true), "its body was too large to be kept as a whole");
        assert_eq!(error(None, false), "it is not an event of a known type");
    }

    #[test]
    fn an_event_is_sent_again_as_it_was_with_time_and_id() {
        let again = |kind, body: &str| {
            let event = event(Some(kind), body, false);
            let Again { path, json, .. } = Again::of(&event).unwrap();
            (path, serde_json::from_str::<Value>(&json).unwrap())
        };
        let (at, id) = ("2026-01-31T12:00:00.000Z", "refused-1769860800000-7");
        let expected = json!({ "eventId": id, "timestamp": at, "projectId": "p", "url": "u" });
        assert_eq!(again("pageview", r#"{"url":"u"}"#), ("/track", expected.clone()));
        let wrapped = r#"{"type":"pageview","data":{"url":"u"}}"#;
        assert_eq!(again("pageview", wrapped), ("/track", expected));
        // The key of a socket's message is not part of the event.
        let message = r#"{"type":"pageview","apiKey":"(removed)","data":{"url":"u"}}"#;
        assert_eq!(again("pageview", message).1["url"], "u");
        let own = r#" { "eventId":"e","timestamp":1,"projectId":"q","trackingId":"t" }"#;
        let expected = serde_json::from_str(own).unwrap();
        assert_eq!(again("event", own), ("/track-event", expected));
        assert_eq!(
            again("session_end", "{}").1,
            json!({ "eventId": id, "timestamp": at, "projectId": "p" })
        );
        let unset = r#"{"eventId":null,"timestamp":null,"projectId":null,"url":"u","url":"v"}"#;
        let again = Again::of(&event(Some("pageview"), unset, false)).unwrap();
        let expected = format!(
            r#"{{"eventId":"{id}","timestamp":"{at}","projectId":"p","url":"u","url":"v"}}"#
        );
        assert_eq!(again.json, expected, "each field once, and those that were given in order");
        assert_eq!(again.origin.as_deref(), Some("https://a.example"));
    }

    #[test]
    fn resending_keeps_the_original_time() {
        for (timestamp, sent_at, expected) in [
            // Sent at once, and kept for an hour before it was sent.
            ("\"2026-01-31T12:00:00Z\"", "\"2026-01-31T12:00:00Z\"", "2026-01-31T12:00:00Z"),
            ("1769857200000", "1769860800000", "1769857200000"),
            // By a clock that is an hour slow.
            ("1769857195000", "1769857200000", "2026-01-31T11:59:55.000Z"),
            ("1769857195000", "\"noon\"", "1769857195000"),
        ] {
            let body = format!(r#"{{"sentAt":{sent_at},"timestamp":{timestamp},"url":"u"}}"#);
            let again = Again::of(&event(Some("pageview"), &body, false)).unwrap();
            let json: Value = serde_json::from_str(&again.json).unwrap();
            assert_eq!(json["timestamp"].to_string().trim_matches('"'), expected, "{body}");
            assert_eq!(json["sentAt"], Value::Null);
        }
    }

    #[test]
    fn what_is_not_a_whole_event_is_not_sent_again() {
        for (kind, body, truncated) in [
            (None, "{}", false),
            (Some("pageview"), "{}", true),
            (Some("pageview"), "{", false),
            (Some("pageview"), "[]", false),
            (Some("event"), r#"{"metadata":{"token":"(removed)"}}"#, false),
        ] {
            assert!(Again::of(&event(kind, body, truncated)).is_err(), "{body}");
        }
    }
}
