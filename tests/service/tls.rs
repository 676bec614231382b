//! The real program over TLS: its own commands, renewal, files that cannot be used.

use std::fs;
use std::time::Duration;

use crate::support::{Cli, DEADLINE, Daemon, eventually, tls};

/// Whether a client that trusts this certificate only can connect.
fn is_trusted(daemon: &Daemon, root: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tls::connect(daemon.addr, root)).is_ok()
}

#[test]
fn commands_know_their_own_pipeline_and_a_renewal_needs_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let replace = |name: &str| {
        fs::copy(tls::file(&format!("{name}.pem")), &certificate).unwrap();
        fs::copy(tls::file(&format!("{name}.key")), &key).unwrap();
    };
    // Not issued for this machine's address, nor by an authority that is trusted here.
    replace("elsewhere");
    let daemon = Daemon::with_settings(&format!(
        "tls_cert = '{}'\ntls_key = '{}'",
        certificate.display(),
        key.display()
    ));
    daemon.cli(&["simulate", "--rate", "20", "--duration", "1s"]);
    assert!(daemon.cli(&["logs", "--json"]).contains("Event queued"));
    let doctor = daemon.cli(&["doctor"]);
    assert!(doctor.contains("cert.pem is valid for "), "{doctor}");

    replace("server");
    eventually(DEADLINE, "the new certificate is used", || is_trusted(&daemon, "ca"));
    fs::write(&certificate, "no certificate").unwrap();
    let broken = "the TLS certificate on disk cannot be used";
    eventually(DEADLINE, "the broken one is reported", || daemon.stderr().contains(broken));
    assert!(is_trusted(&daemon, "ca"), "the last good one stays in use");
    replace("renewed");
    eventually(DEADLINE, "the next one is used", || is_trusted(&daemon, "renewed"));
    daemon.cli(&["logs", "--json"]);
}

#[test]
fn without_usable_files_the_program_does_not_start() {
    let path = |name: &str| tls::file(name).display().to_string();
    for (certificate, key, expected) in [
        (
            "/nowhere/cert.pem".to_owned(),
            path("server.key"),
            "tls_cert: cannot read /nowhere/cert.pem",
        ),
        (
            path("server.pem"),
            "/nowhere/key.pem".to_owned(),
            "tls_key: cannot read /nowhere/key.pem",
        ),
        (path("server.key"), path("server.key"), "contains no certificate (PEM)"),
        (path("server.pem"), path("server.pem"), "contains no usable private key"),
        (path("server.pem"), path("elsewhere.key"), "does not belong to the certificate"),
    ] {
        let cli = Cli::new().env("SSL_CERT_PATH", &certificate).env("SSL_KEY_PATH", &key);
        let output = cli.run(&["--no-ui", "--listen", "127.0.0.1:0"]);
        let text = output.failed();
        assert!(text.contains(expected), "{expected}: {text}");
        let output = cli.run(&["doctor"]);
        assert!(output.stdout.contains(expected), "{expected}: {}", output.stdout);
    }
    let only_one = Cli::new().env("SSL_KEY_PATH", &path("server.key")).run(&["doctor"]);
    assert!(only_one.stderr.contains("set tls_cert"), "{}", only_one.stderr);
}

#[test]
fn a_certificate_that_expires_is_reported() {
    for (name, level, expected) in
        [("expired", "problem", "has expired"), ("server", "ok", "is valid for")]
    {
        let path = |kind: &str| tls::file(&format!("{name}.{kind}")).display().to_string();
        let (certificate, key) = (path("pem"), path("key"));
        let output = Cli::new()
            .env("SSL_CERT_PATH", &certificate)
            .env("SSL_KEY_PATH", &key)
            .run(&["doctor", "--json"]);
        let line = output.stdout.lines().find(|line| line.contains("the certificate in"));
        let line = line.unwrap_or_else(|| panic!("{output:?}"));
        assert!(line.contains(level) && line.contains(expected), "{line}");
    }
}

/// Bklit's WebSocket server uses the variables, its HTTP server does not.
#[test]
fn http_may_stay_without_tls() {
    let path = |name: &str| tls::file(name).display().to_string();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let environment = [("SSL_CERT_PATH", certificate.as_str()), ("SSL_KEY_PATH", key.as_str())];
    let daemon = Daemon::with_environment("[http]\ntls = false", &environment);
    assert_eq!(daemon.get("/health").status, 200);
    let address = fs::read_to_string(daemon.data_dir().join("websocket.addr")).unwrap();
    let address = address.trim().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect =
        async { tokio::time::timeout(Duration::from_secs(10), tls::connect(address, "ca")).await };
    runtime.block_on(connect).unwrap().unwrap();
    daemon.track("https://a.example/");
}
