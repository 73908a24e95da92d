//! TLS: a server is believed when its certificate is signed by somebody who is trusted, and not otherwise.

use crate::redis::*;
use guestbook::core::error::ErrorKind;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// An authority and a certificate for 127.0.0.1, in PEM.
fn certificates(folder: &Path) {
    let openssl = |line: &str| {
        let words = line.split_whitespace();
        let done = Command::new("openssl")
            .args(words)
            .current_dir(folder)
            .output();
        let done = done.expect("openssl is installed");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1"
    ));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

fn start() -> Server {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let mut settings = vec!["--tls-port", "PORT", "--port", "0"];
    settings.extend([
        "--tls-cert-file",
        "server.pem",
        "--tls-key-file",
        "server.key",
    ]);
    settings.extend(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]);
    Server::start_in(folder, &settings)
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_is_named() {
    let server = start();
    let place = format!("127.0.0.1:{}", server.port);
    let ca = server.folder().join("ca.pem");
    let lists = open(&format!("rediss://{place}?ca={}", ca.display())).await;
    assert_eq!(apply(&*lists, append("abc", 0..1)).await, Applied::Stored);
    assert_holds(&*lists, "abc", 0..1).await;
}

#[tokio::test]
async fn a_stranger_is_refused_unless_anybody_will_do() {
    let server = start();
    let place = format!("127.0.0.1:{}", server.port);
    let lists = open(&format!("rediss://{place}")).await;
    let error = lists.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("certificate"), "{error}");
    for url in [
        format!("rediss://{place}?insecure=true"),
        format!("rediss://{place}/#insecure"),
    ] {
        open(&url).await.health().await.unwrap();
    }
    let plain = open(&format!("redis://{place}")).await;
    let error = plain.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_missing_or_empty_file_of_authorities_is_a_wrong_url() {
    let url = CacheUrl::parse("rediss://127.0.0.1:1?ca=/nowhere/ca.pem").unwrap();
    let error = lists(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(file.path(), text).unwrap();
        let url = format!("rediss://127.0.0.1:1?ca={}", file.path().display());
        let error = lists(&CacheUrl::parse(&url).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
