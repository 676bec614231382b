//! TLS: a proxy that terminates it in front of a server on this machine, and a client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How a client starts TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It starts the TLS handshake.
    Immediate,
    /// It first sends Postgres's SSLRequest message, which is answered with `S`.
    Postgres,
}

/// A file of the test certificates: `ca.pem` signed `server.pem` (localhost, 127.0.0.1),
/// `other-ca.pem` signed `elsewhere.pem` (elsewhere.example), `renewed.pem` and
/// `expired.pem` (localhost) signed themselves.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls")).join(name)
}

/// Starts a proxy with that certificate (`server` or `elsewhere`) in front of a port; returns its port.
/// It ends with the test program.
pub fn before(server: u16, certificate: &str, handshake: Handshake) -> u16 {
    let acceptor = acceptor(certificate);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A client that does not trust the certificate disconnects, which is not an error.
                tokio::spawn(async move { pass(client, server, acceptor, handshake).await });
            }
        });
    });
    port
}

fn acceptor(certificate: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(file(&format!("{certificate}.pem"))).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn pass(
    mut client: TcpStream,
    server: u16,
    acceptor: TlsAcceptor,
    handshake: Handshake,
) -> std::io::Result<()> {
    if handshake == Handshake::Postgres {
        let mut request = [0; 8];
        client.read_exact(&mut request).await?;
        assert_eq!(request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f], "not an SSLRequest");
        client.write_all(b"S").await?;
    }
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Connects to the server at `address` as `localhost`, trusting the certificates with these names,
/// separated by spaces.
pub async fn connect(
    address: SocketAddr,
    roots: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut trusted = RootCertStore::empty();
    for name in roots.split(' ') {
        let root = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
        trusted.add(root).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(stream)
}
