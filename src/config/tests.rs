//! Sources, their order, and errors that name them.

use super::*;
use bklit_pipeline::queue::Durability;
use bklit_pipeline::roles::Role;

fn load(environment: &[(&str, &str)], flags: &[Override]) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    Settings::load(Some(&empty), &variables(environment), flags).map_err(|error| error.to_string())
}

fn variables(variables: &[(&str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

fn flag(key: &'static str, value: &str) -> Override {
    Override { key, source: format!("--{key}"), value: value.to_owned() }
}

#[test]
fn later_sources_win() {
    assert_eq!(load(&[], &[]).unwrap(), Settings::default());
    let settings = load(&[("INGESTION_PORT", "4000")], &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4000");
    let both = [("INGESTION_PORT", "4000"), ("BKLIT_LISTEN", "0.0.0.0:5000"), ("BKLIT_NO_UI", "1")];
    let settings = load(&both, &[]).unwrap();
    assert_eq!((settings.listen.port(), settings.no_ui), (5000, true));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    std::fs::write(&file, "listen = '0.0.0.0:3001'").unwrap();
    let variable = &variables(&[("INGESTION_PORT", "4000")]);
    let settings = Settings::load(Some(&file), variable, &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "0.0.0.0:4000", "the port alone");
    let settings = load(&both, &[flag("listen", "[::1]:6000")]).unwrap();
    assert_eq!(settings.listen.port(), 6000);
}

#[test]
fn settings_of_the_console_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(&file), &Environment::default(), &[]).map_err(|error| error.to_string())
    };
    for (text, expected) in [
        ("[console]\ncolors = 12", "(auto, 16, 256, true)"),
        ("[console]\ntheme = 'pink'", "is an unknown theme pink (dark, light, mono)"),
        ("[console.skins.prod]\nacent = '1'", "is not a color role (base, accent, "),
        ("[console.skins.prod]\naccent = 'puce'", "is not a color: puce"),
        ("[console.skins.light]\naccent = '1'", "is the name of a built-in theme"),
        ("[console.keys]\npause = 'p'", "p is also the key of projects"),
        ("[console.keys]\npaus = 'P'", "console.keys.paus"),
        ("[console.filters]\nbad = 'level:loud'", "is not a valid filter"),
        ("[console.queries]\n'a b' = 'SELECT 1'", "needs a name of letters, digits"),
        ("[console.queries]\nnone = ' '", "must not be empty"),
    ] {
        let error = load(text).unwrap_err();
        assert!(
            error.contains(expected) && error.contains("console.") && error.contains("bklit.toml"),
            "{error}"
        );
    }
    assert!(load("[console]\ncolors = 256\nascii = true\n").is_ok());
    let skin = "[console]\ntheme = 'prod'\n[console.skins.prod]\naccent = '#ff8700'\n";
    assert_eq!(load(skin).unwrap().console.theme, "prod");
}

#[test]
fn the_websocket_variables_of_bklit_work_as_they_are() {
    let environment = [
        ("WEBSOCKET_PORT", "9090"),
        ("ALLOWED_WS_ORIGINS", "https://a.example, http://localhost:3000/,"),
    ];
    let settings = load(&environment, &[]).unwrap().websocket;
    assert_eq!(settings.listen.unwrap().to_string(), "127.0.0.1:9090");
    let origins = settings.allowed_origins.unwrap();
    assert_eq!(origins, ["https://a.example", "http://localhost:3000/"]);
    let own = [("WEBSOCKET_PORT", "9090"), ("BKLIT_WEBSOCKET_LISTEN", "[::1]:5")];
    assert_eq!(load(&own, &[]).unwrap().websocket.listen.unwrap().to_string(), "[::1]:5");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    std::fs::write(&file, "[websocket]\nlisten = '0.0.0.0:1'").unwrap();
    let variable = &variables(&[("WEBSOCKET_PORT", "4000")]);
    let settings = Settings::load(Some(&file), variable, &[]).unwrap();
    assert_eq!(settings.websocket.listen.unwrap().to_string(), "0.0.0.0:4000", "the port alone");
    for wrong in [
        "*",
        "dashboard.example",
        "https://a.example/path",
        "null",
        "https://*",
        "https://a.*.b.example",
    ] {
        let all = format!("https://a.example,https://*.b.example, {wrong}");
        let error = load(&[("ALLOWED_WS_ORIGINS", &all)], &[]).unwrap_err();
        let problem = format!("contains {wrong}, which is not an origin");
        assert!(error.contains("ALLOWED_WS_ORIGINS") && error.contains(&problem), "{error}");
    }
    let subdomains = [("ALLOWED_WS_ORIGINS", "https://*.b.example")];
    assert!(load(&subdomains, &[]).is_ok());
    for wrong in ["abc", "70000", "-1", "80 80"] {
        for name in ["WEBSOCKET_PORT", "INGESTION_PORT"] {
            let error = load(&[(name, wrong)], &[]).unwrap_err();
            let expected =
                format!("the environment variable {name}): `{wrong}` is not a port (0 to 65535)");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn an_error_names_setting_and_source() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [Override], [&'a str; 2]);
    let cases: [Case<'_>; 16] = [
        (&[("INGESTION_PORT", "http")], &[], ["listen", "the environment variable INGESTION_PORT"]),
        (&[("BKLIT_NO_UI", "maybe")], &[], ["no_ui", "BKLIT_NO_UI"]),
        (&[("BKLIT_LOG", "a=b=c")], &[], ["log", "BKLIT_LOG"]),
        (&[("REDIS_URL", "http://r")], &[], ["redis_url", "REDIS_URL"]),
        (&[("CLICKHOUSE_HOST", "c:8123")], &[], ["clickhouse_url", "CLICKHOUSE_HOST"]),
        (&[("DATABASE_URL", "mysql://d/b")], &[], ["database_url", "DATABASE_URL"]),
        (&[("BKLIT_DURABILITY", "often")], &[], ["queue.durability", "everysec"]),
        (&[], &[flag("queue.redis_prefix", "")], ["queue.redis_prefix", "empty"]),
        (&[], &[flag("listen", "here")], ["listen", "--listen"]),
        (&[("BKLIT_ROLES", "ingestion,cook")], &[], ["BKLIT_ROLES", "unknown role cook"]),
        (&[("BKLIT_ROLES", " , ")], &[], ["roles (from", "BKLIT_ROLES"]),
        (&[], &[flag("roles", "ingestion")], ["roles (from --roles)", "redis_url"]),
        (&[], &[flag("roles", "worker,websocket")], ["roles (from --roles)", "redis_url"]),
        (&[("SSL_CERT_PATH", "c.pem")], &[], ["tls_cert (from", "tls_key"]),
        (&[("SSL_KEY_PATH", "k.pem")], &[], ["SSL_KEY_PATH", "tls_cert"]),
        (&[], &[flag("shutdown_delay", "1h")], ["shutdown_delay", "5m"]),
    ];
    for (environment, flags, parts) in cases {
        let error = load(environment, flags).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn what_deployments_leave_in_variables_is_understood() {
    let settings = load(&[("WEBSOCKET_PORT", "tcp://10.96.0.12:8080")], &[]).unwrap();
    assert_eq!(settings.websocket.listen, None);
    assert!(settings.notes[0].what.contains("WEBSOCKET_PORT is ignored"), "{:?}", settings.notes);
    let settings = load(&[("INGESTION_PORT", "\"4000\"\r")], &[]).unwrap();
    assert_eq!(settings.listen.port(), 4000);
    for url in [
        "prisma://accelerate.example/?api_key=hush",
        "prisma+postgres://localhost:51213/?api_key=hush",
    ] {
        let error = load(&[("DATABASE_URL", url)], &[]).unwrap_err();
        assert!(error.contains("direct URL") && !error.contains("hush"), "{error}");
    }
}

#[test]
fn errors_in_passwords_name_the_setting_and_show_no_secret() {
    for (name, key, scheme) in [
        ("REDIS_URL", "redis_url", "redis"),
        ("CLICKHOUSE_HOST", "clickhouse_url", "http"),
        ("DATABASE_URL", "database_url", "postgres"),
    ] {
        for (password, explained) in [
            ("hu@sh", "percent-encode"),
            ("hu#sh", "percent-encode"),
            ("hu/sh", "percent-encode"),
            ("hu?sh", "percent-encode"),
            ("hu sh", "white space"),
            ("${hush}", "placeholder"),
            ("<hush>", "placeholder"),
        ] {
            let url = format!("{scheme}://me:{password}@127.0.0.1:6379");
            let error = load(&[(name, &url)], &[]).unwrap_err();
            assert!(error.contains(name) && error.contains(key), "{error}");
            assert!(error.contains(explained) && !error.contains("hu"), "{error}");
        }
    }
    let error = load(&[], &[flag("redis_url", "'redis://:hush@r'")]).unwrap_err();
    assert!(error.contains("--redis_url") && error.contains("quotes"), "{error}");
    let error = load(&[("REDIS_URL", "redis://hush@r")], &[]).unwrap_err();
    assert!(error.contains("colon") && !error.contains("hush"), "{error}");
    let error = load(&[("REDIS_URL", "redis://a,b")], &[]).unwrap_err();
    assert!(error.contains("redis+sentinel://") && error.contains("redis+cluster://"), "{error}");
    for url in ["unix:///run/r.sock", "rediss+cluster://a,b", "valkey+sentinel://a:1,b:2/main/3"] {
        assert!(load(&[("REDIS_URL", url)], &[]).is_ok(), "{url}");
    }
}

#[test]
fn a_file_with_a_password_that_others_can_read_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bklit.toml");
    for (text, mode, is_reported) in [
        ("clickhouse_password = 'hush'", 0o644, true),
        ("redis_url = 'redis://:hush@r'", 0o640, true),
        ("redis_url = 'redis://:hush@r'", 0o600, false),
        ("redis_url = 'redis://r'", 0o644, false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let notes = Settings::load(Some(&path), &Environment::default(), &[]).unwrap().notes;
        let reported = notes.iter().any(|note| note.advice.starts_with("chmod 600"));
        assert_eq!(reported, is_reported, "{text} {mode:o}: {notes:?}");
    }
}

#[test]
fn an_embedded_queue_next_to_bklits_servers_is_reported() {
    let reported = |environment: &[(&str, &str)]| {
        load(environment, &[]).unwrap().notes.first().map(|note| note.what.clone())
    };
    let clickhouse = ("CLICKHOUSE_HOST", "http://c:8123");
    assert!(reported(&[clickhouse]).unwrap().contains("REDIS_URL"));
    assert!(reported(&[("DATABASE_URL", "postgres://p/b")]).unwrap().contains("DATABASE_URL"));
    assert_eq!(reported(&[clickhouse, ("REDIS_URL", "redis://r")]), None);
    assert_eq!(reported(&[]), None);
}

#[test]
fn the_variables_of_bklit_name_its_servers_and_no_password_is_shown() {
    let environment = [
        ("REDIS_URL", "redis://:hush@r:1/2"),
        ("CLICKHOUSE_HOST", "https://c:8443"),
        ("CLICKHOUSE_USERNAME", "me"),
        ("CLICKHOUSE_PASSWORD", "hush"),
        ("DATABASE_URL", "postgresql://me:hush@p/bklit?schema=public"),
        ("CLICKHOUSE_DATABASE", "web"),
        ("BKLIT_DURABILITY", "always"),
    ];
    let settings = load(&environment, &[]).unwrap();
    assert_eq!(settings.redis_url.as_ref().unwrap().expose(), "redis://:hush@r:1/2");
    assert_eq!(settings.clickhouse_username.as_deref(), Some("me"));
    assert_eq!(settings.clickhouse_password.as_ref().unwrap().expose(), "hush");
    assert_eq!(settings.clickhouse_database, "web");
    assert_eq!(settings.queue.durability, Durability::Always);
    assert!(!format!("{settings:?}").contains("hush"));
    for name in ["REDIS_URL", "CLICKHOUSE_HOST", "DATABASE_URL"] {
        let error = load(&[(name, "ftp://me:hush@host")], &[]).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn roles_come_as_text_or_as_a_list() {
    let redis = ("REDIS_URL", "redis://r");
    let settings = load(&[redis, ("BKLIT_ROLES", " worker,ingestion ,")], &[]).unwrap();
    assert_eq!(settings.roles.iter().collect::<Vec<_>>(), [Role::Ingestion, Role::Worker]);
    assert!(!settings.roles.has(Role::Websocket));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bklit.toml");
    std::fs::write(&path, "roles = ['worker']\nredis_url = 'redis://r'").unwrap();
    let settings = Settings::load(Some(&path), &Environment::default(), &[]).unwrap();
    assert_eq!(settings.roles.iter().collect::<Vec<_>>(), [Role::Worker]);
    // Without the role websocket, no part is left to another process.
    let settings = load(&[("BKLIT_ROLES", "ingestion,worker")], &[]).unwrap();
    assert!(settings.roles.has(Role::Worker));
}

#[test]
fn an_error_in_a_file_does_not_quote_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bklit.toml");
    for value in ["1234567", "-1234567", "1234567.5", "[1234567]", "{ a = 1234567 }", "x1234567"] {
        for key in ["clickhouse_password", "redis_url", "clickhouse_url"] {
            std::fs::write(&path, format!("{key} = {value}")).unwrap();
            let error = Settings::load(Some(&path), &Environment::default(), &[]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("234567"), "{text}");
            assert!(text.contains("bklit.toml"), "{text}");
            assert!(text.contains(key) || value.starts_with('x'), "{text}");
        }
    }
    std::fs::write(&path, "clickhouse_password = true").unwrap();
    let error = Settings::load(Some(&path), &Environment::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("clickhouse_password") && error.contains("quotes"), "{error}");
}

#[test]
fn an_error_in_a_file_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bklit.toml");
    for (text, part) in [
        ("lisen = '127.0.0.1:1'", "lisen"),
        ("[console]\nfps = 0", "console.fps"),
        ("[worker]\nlease = 'soon'", "worker.lease"),
        ("[http]\nmax_body_bytes = -1", "http.max_body_bytes"),
        ("[http]\nmax_connections_per_address = 0", "from 1"),
        ("= nonsense", "bklit.toml"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error =
            Settings::load(Some(&path), &Environment::default(), &[]).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("bklit.toml"), "{text}: {error}");
    }
    let error =
        Settings::load(Some(&dir.path().join("none")), &Environment::default(), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::File { .. }), "{error}");
}

#[test]
fn the_sample_file_is_the_defaults() {
    let sample = include_str!("../../bklit.sample.toml");
    let read: serde_json::Value = Figment::from(Toml::string(sample)).extract().unwrap();
    let mut defaults = serde_json::to_value(Settings::default()).unwrap();
    // It depends on the machine, so the sample only describes it.
    defaults.as_object_mut().unwrap().remove("data_dir");
    assert_eq!(read, defaults);
    let described = [
        "# data_dir",
        "# redis_url",
        "# clickhouse_url",
        "# clickhouse_username",
        "# clickhouse_password",
        "# listen",
        "# database_url",
    ];
    for key in described {
        assert!(sample.contains(key), "{key}");
    }
}

#[test]
fn rules_for_events_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    let load = |text: &str| {
        std::fs::write(&file, format!("[intake]\n{text}")).unwrap();
        Settings::load(Some(&file), &Environment::default(), &[]).map_err(|error| error.to_string())
    };
    for (text, expected) in [
        ("url_schemes = []", "intake.url_schemes"),
        ("url_schemes = ['HTTPS']", "lower case"),
        ("url_schemes = ['https://']", "must list schemes"),
        ("url_schemes = ['javascript']", "must list schemes"),
        ("max_ahead = '0s'", "intake.max_ahead"),
        ("max_ahead = '31d'", "must be at most 30d"),
        ("max_age = '0s'", "longer than 0s"),
        ("max_age = '3651d'", "must be at most 3650d"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(expected) && error.contains("bklit.toml"), "{text}: {error}");
    }
    let settings = load("url_schemes = '*'\nmax_ahead = '30d'\nmax_age = '3650d'").unwrap();
    assert_eq!(settings.intake.url_schemes, ["*"]);
    assert_eq!(load("url_schemes = 'https, my-app'").unwrap().intake.url_schemes[1], "my-app");
}

#[test]
fn unsupported_parameters_of_a_redis_url_are_reported() {
    let notes = |url: &str| {
        let settings = load(&[("REDIS_URL", url)], &[]).unwrap();
        settings
            .notes
            .iter()
            .map(|note| format!("{}: {}", note.what, note.advice))
            .collect::<Vec<_>>()
    };
    let noted = notes("redis://a.example/0?ssl=true&family=0");
    assert_eq!(
        noted,
        [
            "redis_url: the parameter ssl is ignored: for TLS, write rediss:// instead of redis://",
            "redis_url: the parameter family is ignored: remove it",
        ]
    );
    for url in ["redis://a.example", "unix:///run/redis.sock?db=1&user=u&pass=x%26y"] {
        assert_eq!(notes(url), [""; 0], "{url}");
    }
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(&file), &Environment::default(), &[]).map_err(|error| error.to_string())
    };
    for (text, expected) in [
        ("[console]\nthem = 'dark'", "unknown setting `them`; did you mean theme? known: "),
        ("lisen = '127.0.0.1:1'", "unknown setting `lisen`; did you mean listen? known: "),
        ("[queue]\nnothing_like_it = 1", "unknown setting `nothing_like_it`; known: "),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(expected) && error.contains("bklit.toml"), "{error}");
    }
}

#[test]
fn an_address_may_be_a_port_for_this_machine_only() {
    let load = |key: &'static str, value: &str| {
        let flag = Override { key, source: "--listen".to_owned(), value: value.to_owned() };
        Settings::load(None, &Environment::default(), &[flag]).map_err(|error| error.to_string())
    };
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(load("listen", "4101").unwrap().listen, local(4101));
    assert_eq!(load("listen", "0.0.0.0:4101").unwrap().listen, "0.0.0.0:4101".parse().unwrap());
    assert_eq!(load("websocket.listen", "4102").unwrap().websocket.listen, Some(local(4102)));
    for (key, value) in [("listen", "localhost:1"), ("listen", "99999"), ("websocket.listen", "x")]
    {
        let error = load(key, value).unwrap_err();
        assert!(error.contains(&format!("`{value}` is not an address")), "{error}");
        assert!(error.contains("IP:PORT, such as 127.0.0.1:3001"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bklit.toml");
    std::fs::write(&file, "listen = 4103").unwrap();
    let loaded = Settings::load(Some(&file), &Environment::default(), &[]).unwrap();
    assert_eq!(loaded.listen, local(4103));
}
