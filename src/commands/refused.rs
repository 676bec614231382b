//! `refused`: shows the events that a process has refused, and sends them again.

use std::process::ExitCode;

use color_eyre::Result;
use color_eyre::eyre::{bail, eyre};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::print;
use crate::cli::{RefusedArgs, RefusedCommand, SourceArgs};
use crate::client;
use crate::config::Settings;
use bklit_remote::backend::RemoteBackend;
use bklit_wire::refused::{REMOVED, RefusedEvent, RefusedGroup};
use bklit_wire::table::Table;
use bklit_wire::text::{clip, safe, safe_json};

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
            let view = backend.refused(&query).await.map_err(|error| eyre!(error))?;
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

async fn find(backend: &RemoteBackend, id: u64) -> Result<RefusedEvent> {
    let view = backend.refused(&[("id", &id.to_string())]).await.map_err(|error| eyre!(error))?;
    let event = view.recent.into_iter().next();
    event.ok_or_else(|| eyre!("there is no refused event {id}, or it is not kept any more"))
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
        let event = find(&backend, id).await?;
        let (path, json) = request(&event)?;
        match sender.send_event(path, origin(&event).as_deref(), json).await {
            Ok(event) => print(&format!("{id}: accepted as {}\n", safe(&event)))?,
            Err(error) => {
                exit = ExitCode::FAILURE;
                print(&format!("{id}: refused: {}\n", safe(&error)))?
            }
        };
    }
    Ok(exit)
}

fn origin(event: &RefusedEvent) -> Option<String> {
    let origin = Url::parse(event.page.as_deref()?).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// What the fields of an event say about sending it again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(default, borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, borrow)]
    project_id: Option<&'a RawValue>,
}

/// The path and the body to send an event again: with the time of the first attempt, and with an id, so
/// that it is stored once however often it is sent again.
fn request(event: &RefusedEvent) -> Result<(&'static str, String)> {
    let id = event.id;
    let path = match event.kind.as_deref() {
        Some("pageview") => "/track",
        Some("event") => "/track-event",
        Some("session_end") => "/session-end",
        _ => bail!("{id} is not an event of a known type"),
    };
    let Some(body) = event.body.as_deref().filter(|_| !event.truncated) else {
        bail!("the body of {id} is not kept as a whole");
    };
    if !body.trim_start().starts_with('{') {
        bail!("{id} is not a JSON object");
    }
    let unreadable = |error| eyre!("{id} is not a JSON object: {error}");
    let outer: Known<'_> = serde_json::from_str(body).map_err(unreadable)?;
    // Members of batches and messages of sockets may have their fields in `data`.
    let body = match (outer.r#type, outer.data) {
        (Some(_), Some(data)) => data.get(),
        _ => body,
    };
    if body.contains(REMOVED) {
        bail!("secrets or addresses were removed from {id}, so it is not what was sent");
    }
    let known: Known<'_> = serde_json::from_str(body).map_err(unreadable)?;
    let mut added = String::new();
    let mut add = |name: &str, is_there: bool, value: Option<&str>| -> Result<()> {
        if let Some(value) = value.filter(|_| !is_there) {
            added += &format!("\"{name}\":{},", serde_json::to_string(value)?);
        }
        Ok(())
    };
    let at = event.at.to_string();
    add(
        "eventId",
        known.event_id.is_some(),
        Some(&format!("refused-{}-{id}", event.at.epoch_millis())),
    )?;
    add("timestamp", known.timestamp.is_some(), Some(&at))?;
    add("projectId", known.project_id.is_some(), event.project.as_deref())?;
    let fields = body.trim_start().trim_start_matches('{');
    if fields.trim_start().starts_with('}') {
        added.pop();
    }
    Ok((path, format!("{{{added}{fields}")))
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
    fn an_event_is_sent_again_as_it_was_with_time_and_id() {
        let again = |kind, body: &str| {
            let event = event(Some(kind), body, false);
            let (path, json) = request(&event).unwrap();
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
        assert_eq!(origin(&event(None, "", false)).as_deref(), Some("https://a.example"));
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
            assert!(request(&event(kind, body, truncated)).is_err(), "{body}");
        }
    }
}
