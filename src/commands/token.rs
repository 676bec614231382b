//! `token`: creates, lists and revokes tokens.

use std::time::Duration;

use color_eyre::Result;
use color_eyre::eyre::{bail, ensure, eyre};
use serde::Serialize;

use super::print;
use crate::cli::{ScopeArg, TokenArgs, TokenCommand};
use crate::client::reachable;
use crate::config::Settings;
use bklit_pipeline::auth::{Scope, Secret, TokenRecord, TokenStore, domains};
use bklit_pipeline::intake::validate::id_problem;
use bklit_wire::table::Table;
use bklit_wire::text::safe;
use bklit_wire::time::UtcMillis;

/// All projects, for tokens with scope read or admin.
const ALL_PROJECTS: &str = "*";

/// Runs the command and prints its result.
///
/// # Errors
/// When an argument is wrong, the token does not exist, or the store is unavailable.
pub async fn run(args: &TokenArgs, settings: &Settings, store: &dyn TokenStore) -> Result<()> {
    let text = match &args.command {
        TokenCommand::Create { project, scope, name, domain, expires, quiet } => {
            let secret = Secret::generate()?;
            let mut token = TokenRecord::new(&secret, (*scope).into(), projects(*scope, project)?)?;
            token.name = name.clone().filter(|name| !name.is_empty());
            token.allowed_domains = entries(domain)?;
            token.expires_at = expires.map(|after| expiry(token.created_at, after)).transpose()?;
            store.create(token.clone()).await?;
            warn_of_domains(&token);
            match quiet {
                true => format!("{}\n", secret.expose()),
                false => created(&token, &secret, settings),
            }
        }
        TokenCommand::List { json: true } => lines(&listed(store).await?)?,
        TokenCommand::List { json: false } => {
            let mut text = table(&listed(store).await?, UtcMillis::now());
            if settings.database_url.is_some() {
                text.push_str("Tokens in Postgres are also valid; Bklit's dashboard lists them.\n");
            }
            text
        }
        TokenCommand::Revoke { id } => {
            ensure!(
                store.revoke(id).await?,
                "unknown token `{}`; `bklit-tui token list` shows the ids (revoke tokens in \
                 Postgres in Bklit's dashboard)",
                safe(id)
            );
            format!("Revoked {id}. Running pipelines refuse it within seconds.\n")
        }
    };
    print(&text)?;
    Ok(())
}

/// All readable tokens; reports on stderr how many are not readable.
async fn listed(store: &dyn TokenStore) -> Result<Vec<TokenRecord>> {
    let listing = store.listing().await;
    if listing.unreadable > 0 {
        eprintln!(
            "Ignored {} unreadable tokens: created by a newer version, or damaged.",
            listing.unreadable
        );
    }
    let tokens = listing.whole()?;
    tokens.iter().for_each(warn_of_domains);
    Ok(tokens)
}

/// Reports suspicious domains of a token on stderr.
fn warn_of_domains(token: &TokenRecord) {
    for warning in domains::warnings(&token.allowed_domains) {
        eprintln!("warning: token {}: {}", token.id, safe(&warning));
    }
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Ingest => Self::Ingest,
            ScopeArg::Read => Self::Read,
            ScopeArg::Admin => Self::Admin,
        }
    }
}

fn projects(scope: ScopeArg, given: &[String]) -> Result<Vec<String>> {
    if given.iter().any(|project| project == ALL_PROJECTS) {
        ensure!(scope != ScopeArg::Ingest, "--project '*' is for --scope read and admin only");
        ensure!(given.len() == 1, "--project '*' means all projects; do not name others as well");
        return Ok(Vec::new());
    }
    ensure!(
        scope != ScopeArg::Admin,
        "--scope admin needs --project '*', because all projects share the queue"
    );
    let mut projects = Vec::with_capacity(given.len());
    for project in given {
        if let Some(problem) = id_problem(project) {
            bail!("--project `{}`: {problem}", safe(project));
        }
        if !projects.contains(project) {
            projects.push(project.clone());
        }
    }
    Ok(projects)
}

/// Allowed domains as they are stored; several may be given at once.
fn entries(given: &[String]) -> Result<Vec<String>> {
    let mut entries = Vec::with_capacity(given.len());
    for given in given {
        let before = entries.len();
        for domain in domains::split(given) {
            let entry = domains::normalized(domain);
            entries.push(entry.map_err(|why| eyre!("--domain `{}`: {why}", safe(domain)))?);
        }
        // Otherwise the token would be for all sites.
        ensure!(entries.len() > before, "--domain `{}`: is empty", safe(given));
    }
    Ok(entries)
}

fn expiry(now: UtcMillis, after: Duration) -> Result<UtcMillis> {
    ensure!(!after.is_zero(), "--expires: must be longer than 0s");
    i64::try_from(after.as_millis())
        .ok()
        .and_then(|after| now.epoch_millis().checked_add(after))
        .filter(|end| *end <= UtcMillis::MAX.epoch_millis())
        .map(UtcMillis::from_epoch_millis)
        .ok_or_else(|| eyre!("--expires: later than {}, the latest possible", UtcMillis::MAX))
}

/// The text about a new token: the secret, and how to use it.
fn created(token: &TokenRecord, secret: &Secret, settings: &Settings) -> String {
    let secret = secret.expose();
    let url = format!("{}://{}", settings.http_scheme(), reachable(settings.listen));
    let curl = super::curl(settings);
    let mut text = format!(
        "Created token {}: scope {}, for {}, {}{}.\n\n  {secret}\n\n\
         It is not shown again. Try it:\n\n",
        token.id,
        token.scope.as_str(),
        project_list(token),
        token.expires_at.map_or("never expires".to_owned(), |end| format!("expires {end}")),
        match token.allowed_domains.as_slice() {
            [] => String::new(),
            domains => format!(", only from pages of {}", safe(&domains.join(", "))),
        },
    );
    match (token.scope, token.projects.first()) {
        (Scope::Ingest, project) => {
            let project = project.map_or("", String::as_str);
            let body = serde_json::json!({ "url": "https://example.com/", "projectId": project });
            text.push_str(&format!("  {curl} {url}/track -H 'Authorization: Bearer {secret}'"));
            text.push_str(" -H 'Content-Type: application/json'");
            if let Some(domain) = token.allowed_domains.first() {
                let host = domain.replace("*.", "www.");
                text.push_str(&format!(" -H 'Origin: https://{host}'"));
            }
            text.push_str(&format!(" -d {}\n", quoted(&body.to_string())));
        }
        (Scope::Read, None) => {
            text.push_str(&format!("  bklit-tui attach {url} --token {secret}\n"));
        }
        (Scope::Admin, _) => text
            .push_str(&format!("  {curl} {url}/api/queue -H 'Authorization: Bearer {secret}'\n")),
        (Scope::Read, Some(project)) => text.push_str(&format!(
            "  bklit-tui logs {url} --follow --token {secret} --project {}\n",
            quoted(project)
        )),
    }
    text
}

/// The text as one word of a shell command.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn project_list(token: &TokenRecord) -> String {
    match token.projects.as_slice() {
        [] => "all projects".to_owned(),
        projects => safe(&projects.join(", ")).into_owned(),
    }
}

fn table(tokens: &[TokenRecord], now: UtcMillis) -> String {
    if tokens.is_empty() {
        return "No tokens. Create one: bklit-tui token create --project P\n".to_owned();
    }
    let header = ["ID", "TOKEN", "SCOPE", "PROJECTS", "DOMAINS", "CREATED", "EXPIRES", "NAME"];
    let mut table = Table::new(header);
    for token in tokens {
        table.push(row(token, now));
    }
    table.to_string()
}

fn row(token: &TokenRecord, now: UtcMillis) -> [String; 8] {
    let day = |moment: UtcMillis| moment.to_date_time()[..10].to_owned();
    [
        token.id.clone(),
        format!("{}…", token.prefix),
        token.scope.as_str().to_owned(),
        project_list(token),
        match token.allowed_domains.as_slice() {
            [] => "any".to_owned(),
            domains => domains.join(", "),
        },
        day(token.created_at),
        match token.expires_at {
            None => "never".to_owned(),
            Some(end) if end <= now => format!("expired {}", day(end)),
            Some(end) => day(end),
        },
        token.name.clone().unwrap_or_default(),
    ]
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    prefix: &'a str,
    name: Option<&'a str>,
    scope: &'static str,
    /// Empty means all.
    projects: &'a [String],
    /// Empty means any.
    allowed_domains: &'a [String],
    created_at: UtcMillis,
    expires_at: Option<UtcMillis>,
}

fn lines(tokens: &[TokenRecord]) -> Result<String> {
    let mut text = String::new();
    for token in tokens {
        text.push_str(&serde_json::to_string(&Line {
            id: &token.id,
            prefix: &token.prefix,
            name: token.name.as_deref(),
            scope: token.scope.as_str(),
            projects: &token.projects,
            allowed_domains: &token.allowed_domains,
            created_at: token.created_at,
            expires_at: token.expires_at,
        })?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(projects: &[&str]) -> (TokenRecord, Secret) {
        let secret = Secret::generate().unwrap();
        let projects = projects.iter().map(|&project| project.to_owned()).collect();
        (TokenRecord::new(&secret, Scope::Ingest, projects).unwrap(), secret)
    }

    #[tokio::test]
    async fn commands_change_the_store() {
        use clap::Parser;
        let dir = tempfile::tempdir().unwrap();
        let store =
            bklit_adapters::sqlite::tokens::SqliteTokenStore::open(&dir.path().join("t.db"));
        let store = store.unwrap();
        let run = async |line: &str| {
            let cli = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(crate::cli::Command::Token(args)) = cli.command else { panic!("{line}") };
            super::run(&args, &Settings::default(), &store).await.map_err(|e| e.to_string())
        };
        let create = "bklit-tui token create --project p --project q --domain https://a.example/,c.example --domain *.B.example \
                      --expires 90d --name n";
        run(create).await.unwrap();
        run("bklit-tui token create --project * --scope read --quiet").await.unwrap();
        let tokens = store.list().await.unwrap();
        let [ingest, read] = tokens.as_slice() else { panic!("{tokens:?}") };
        assert_eq!((ingest.scope, read.scope), (Scope::Ingest, Scope::Read));
        assert_eq!((ingest.projects.len(), read.projects.len()), (2, 0));
        assert_eq!(ingest.allowed_domains, ["a.example", "c.example", "*.b.example"]);
        let lives = ingest.expires_at.unwrap().epoch_millis() - ingest.created_at.epoch_millis();
        assert_eq!((lives, ingest.name.as_deref()), (90 * 86_400_000, Some("n")));
        for refused in [
            "bklit-tui token create --project *",
            "bklit-tui token create --project p --expires 999years",
            "bklit-tui token create --project p --domain *",
            "bklit-tui token create --project p --domain ,",
            "bklit-tui token revoke tok_none",
        ] {
            run(refused).await.unwrap_err();
        }
        run(&format!("bklit-tui token revoke {}", ingest.id)).await.unwrap();
        run("bklit-tui token list").await.unwrap();
        run("bklit-tui token list --json").await.unwrap();
        assert_eq!(store.list().await.unwrap(), std::slice::from_ref(read));
    }

    #[test]
    fn an_expiry_too_far_in_the_future_is_refused() {
        let now = UtcMillis::from_epoch_millis(1_000);
        let end = expiry(now, Duration::from_secs(1)).unwrap();
        assert_eq!(end.epoch_millis(), 2_000);
        for wrong in [Duration::ZERO, Duration::from_secs(100 * 366 * 86_400 * 2), Duration::MAX] {
            assert!(expiry(now, wrong).unwrap_err().to_string().contains("--expires"));
        }
    }

    #[test]
    fn the_table_is_aligned_and_escaped() {
        let (mut one, _) = token(&["p1", "p2"]);
        one.name = Some("red\u{1b}[31m\u{202e}".into());
        one.expires_at = Some(UtcMillis::from_epoch_millis(0));
        let (mut two, _) = token(&["日本"]);
        two.allowed_domains = vec!["example.com".into()];
        let text = table(&[one, two], UtcMillis::now());
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains(r"red\u{1b}[31m\u{202e}") && text.contains("expired 1970-01-01"));
        let starts: Vec<usize> = text
            .lines()
            .zip(["DOMAINS", "any", "example.com"])
            .map(|(line, cell)| bklit_wire::text::width(&line[..line.find(cell).unwrap()]))
            .collect();
        assert!(starts.windows(2).all(|pair| pair[0] == pair[1]), "{starts:?}\n{text}");
    }

    #[test]
    fn the_hint_works_as_pasted() {
        let (mut token, secret) = token(&["it's"]);
        token.allowed_domains = vec!["*.example.com".into()];
        let listen = "0.0.0.0:3001".parse().unwrap();
        let mut settings = Settings { listen, ..Settings::default() };
        let text = created(&token, &secret, &settings);
        assert!(text.contains(&format!("Bearer {}'", secret.expose())), "{text}");
        assert!(text.contains("http://127.0.0.1:3001/track"), "{text}");
        assert!(text.contains("-H 'Origin: https://www.example.com'"), "{text}");
        assert!(
            text.contains(r#"-d '{"url":"https://example.com/","projectId":"it'\''s"}'"#)
                || text.contains(r#"-d '{"projectId":"it'\''s","url":"https://example.com/"}'"#),
            "{text}"
        );
        settings.tls_cert = Some("cert.pem".into());
        let text = created(&token, &secret, &settings);
        assert!(text.contains("curl -k https://127.0.0.1:3001/track"), "{text}");
    }

    #[test]
    fn ingest_tokens_cannot_have_all_projects() {
        let all = ["*".to_owned()];
        assert!(projects(ScopeArg::Read, &all).unwrap().is_empty());
        assert!(projects(ScopeArg::Ingest, &all).is_err());
        assert!(projects(ScopeArg::Read, &["*".into(), "p".into()]).is_err());
        assert_eq!(projects(ScopeArg::Ingest, &["p".into(), "p".into()]).unwrap(), ["p"]);
        assert!(projects(ScopeArg::Ingest, &["".into()]).is_err());
    }
}
