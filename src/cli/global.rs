//! Flags of all commands.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values;
use crate::config::Override;

/// Flags of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct GlobalArgs {
    /// Read settings from this file [env: BKLIT_CONFIG] [default: ~/.config/bklit-tui/config.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of queue, store, tokens and logs [env: BKLIT_DATA_DIR] [default: ~/.local/share/bklit-tui]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<String>,
    /// Address to accept events on [env: BKLIT_LISTEN, or the port in INGESTION_PORT] [default: 127.0.0.1:3001]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Address to serve browsers and dashboards over WebSocket on [env: BKLIT_WEBSOCKET_LISTEN, or the port in WEBSOCKET_PORT] [default: 127.0.0.1:8080, if it is free]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub websocket_listen: Option<String>,
    /// Run as a daemon: the pipeline without the console, logs on stderr [env: BKLIT_NO_UI]
    #[arg(long, global = true)]
    pub no_ui: bool,
    /// Run only these parts of the pipeline [env: BKLIT_ROLES] [default: all]
    #[arg(long, global = true, value_name = "ROLE,…", value_delimiter = ',', value_parser = values::role())]
    pub roles: Vec<String>,
    /// Use this Redis or Valkey server for queue, messages and tokens [env: REDIS_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// When an event in Redis counts as accepted: everysec (the server has it), always (it is on the server's disk) [env: BKLIT_DURABILITY] [default: everysec]
    #[arg(long, global = true, value_name = "WHEN", value_parser = values::DURABILITY)]
    pub durability: Option<String>,
    /// Store events in this ClickHouse server; see also CLICKHOUSE_USERNAME, CLICKHOUSE_PASSWORD and CLICKHOUSE_DATABASE [env: CLICKHOUSE_HOST]
    #[arg(long, global = true, value_name = "URL")]
    pub clickhouse_url: Option<String>,
    /// Also insert each event directly, past the queue, and compare both paths; see the command verify [env: BKLIT_DUAL_WRITE]
    #[arg(long, global = true)]
    pub dual_write: bool,
    /// Do not let the console change anything, such as retry or delete failed events [env: BKLIT_READ_ONLY]
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Start the console without the panes and filters of the last run, and do not save them
    #[arg(long, global = true)]
    pub no_remember: bool,
    /// Read tokens and event definitions from Bklit's Postgres, without writing to it [env: DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Trust the root certificates (PEM) in this file, instead of Mozilla's, when connecting to servers [env: BKLIT_TLS_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_ca_file: Option<String>,
    /// Serve HTTPS and secure WebSockets with the certificate (PEM, with its chain) in this file; it is read again when it changes [env: SSL_CERT_PATH, BKLIT_TLS_CERT]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<String>,
    /// The certificate's private key (PEM) [env: SSL_KEY_PATH, BKLIT_TLS_KEY]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<String>,
    /// Serve a page to try the tracker on: http://127.0.0.1:3001/playground [env: BKLIT_PLAYGROUND]
    #[arg(long, global = true)]
    pub playground: bool,
    /// Proxies in front of the servers, whose headers count: addresses, networks, loopback, private [env: BKLIT_TRUSTED_PROXIES]
    #[arg(long, global = true, value_name = "NETWORK,…")]
    pub trusted_proxies: Option<String>,
    /// Header in which these proxies name their client [env: BKLIT_CLIENT_IP_HEADER] [default: x-forwarded-for]
    #[arg(long, global = true, value_name = "HEADER", value_parser = values::client_ip_header())]
    pub client_ip_header: Option<String>,
    /// Locate visitors with this MMDB file, such as GeoLite2-City.mmdb [env: BKLIT_GEO_DATABASE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub geo_database: Option<String>,
    /// Draw the console with ASCII only [default: if the locale is not UTF-8]
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Colour theme of the console [env: BKLIT_THEME] [default: dark]
    #[arg(long, global = true, value_name = "NAME", add = values::themes())]
    pub theme: Option<String>,
    /// Record everything the console receives to this file, for the command replay
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub record: Option<String>,
    /// Level of the program's own log: error, warn, info, debug, trace [env: BKLIT_LOG] [default: info]
    #[arg(long, global = true, value_name = "FILTER", add = values::log())]
    pub log: Option<String>,
}

impl GlobalArgs {
    /// The settings given as flags.
    pub fn overrides(&self) -> Vec<Override> {
        let no_ui = self.no_ui.then(|| "true".to_owned());
        let dual_write = self.dual_write.then(|| "true".to_owned());
        let read_only = self.read_only.then(|| "true".to_owned());
        let remember = self.no_remember.then(|| "false".to_owned());
        let playground = self.playground.then(|| "local".to_owned());
        let ascii = self.ascii.then(|| "true".to_owned());
        let roles = (!self.roles.is_empty()).then(|| self.roles.join(","));
        let flags = [
            ("data_dir", "--data-dir", &self.data_dir),
            ("listen", "--listen", &self.listen),
            ("websocket.listen", "--websocket-listen", &self.websocket_listen),
            ("no_ui", "--no-ui", &no_ui),
            ("roles", "--roles", &roles),
            ("redis_url", "--redis-url", &self.redis_url),
            ("queue.durability", "--durability", &self.durability),
            ("clickhouse_url", "--clickhouse-url", &self.clickhouse_url),
            ("dual_write", "--dual-write", &dual_write),
            ("console.read_only", "--read-only", &read_only),
            ("console.remember", "--no-remember", &remember),
            ("database_url", "--database-url", &self.database_url),
            ("tls_ca_file", "--tls-ca-file", &self.tls_ca_file),
            ("tls_cert", "--tls-cert", &self.tls_cert),
            ("tls_key", "--tls-key", &self.tls_key),
            ("http.playground", "--playground", &playground),
            ("http.trusted_proxies", "--trusted-proxies", &self.trusted_proxies),
            ("http.client_ip_header", "--client-ip-header", &self.client_ip_header),
            ("geo.database", "--geo-database", &self.geo_database),
            ("console.ascii", "--ascii", &ascii),
            ("console.theme", "--theme", &self.theme),
            ("log", "--log", &self.log),
        ];
        let given = flags.into_iter().filter_map(|(key, flag, value)| {
            let value = value.clone()?;
            Some(Override { key, source: flag.to_owned(), value })
        });
        given.collect()
    }
}
