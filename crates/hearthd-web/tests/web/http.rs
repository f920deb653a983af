//! Files, headers, names and origins.

use std::io::Read as _;

use crate::site::{FakeBroker, Site, run};

async fn site() -> Site {
    Site::start(&FakeBroker::start().await.url(), "").await
}

#[tokio::test]
async fn the_page_comes_with_headers_that_forbid_whatever_it_does_not_need() {
    let site = site().await;
    let answer = site.ask("GET / HTTP/1.1\nHost: hub.local:8080").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    let page = String::from_utf8(answer.body).unwrap();
    assert!(page.contains("<script type=\"module\" src=\"app.mjs\">"), "{page}");
    // Nothing inline, which the policy would not let run.
    let is_attribute =
        |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('=');
    let handlers = page.split(" on").skip(1).filter(|rest| is_attribute(rest)).count();
    assert_eq!(handlers, 0, "{page}");
    assert!(!page.contains(" style=") && !page.contains("<style"), "{page}");
}

#[tokio::test]
async fn every_answer_has_them_also_where_it_is_a_refusal() {
    let site = site().await;
    for (head, status) in [
        ("GET /nothing HTTP/1.1\nHost: localhost", 404),
        ("GET /../Cargo.toml HTTP/1.1\nHost: localhost", 404),
        ("POST / HTTP/1.1\nHost: localhost\nContent-Length: 0", 405),
        ("GET / HTTP/1.1\nHost: evil.example", 421),
        ("GET / HTTP/1.1\nHost: a.local\nHost: b.local", 400),
        ("GET / HTTP/1.1", 400),
        ("GET http://evil.example/ HTTP/1.1\nHost: localhost", 400),
        ("GET /mqtt HTTP/1.1\nHost: localhost", 403),
        ("GET /mqtt HTTP/1.1\nHost: localhost\nOrigin: http://localhost", 426),
    ] {
        let answer = site.ask(head).await;
        assert_eq!(answer.status(), status, "{head}");
        assert!(answer.header("content-security-policy").is_some(), "{head}: {}", answer.head);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{head}");
    }
}

#[tokio::test]
async fn files_are_compressed_for_those_who_take_it_and_fetched_once() {
    let site = site().await;
    let plain = site.ask("GET /app.mjs HTTP/1.1\nHost: localhost").await;
    let zipped =
        site.ask("GET /app.mjs HTTP/1.1\nHost: localhost\nAccept-Encoding: br, gzip").await;
    assert_eq!(
        (plain.header("content-encoding"), zipped.header("content-encoding")),
        (None, Some("gzip"))
    );
    assert!(zipped.body.len() < plain.body.len());
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain.body);
    let refused =
        site.ask("GET /app.mjs HTTP/1.1\nHost: localhost\nAccept-Encoding: gzip;q=0").await;
    assert_eq!(refused.header("content-encoding"), None);
    let etag = plain.header("etag").unwrap();
    let again =
        site.ask(&format!("GET /app.mjs HTTP/1.1\nHost: localhost\nIf-None-Match: {etag}")).await;
    assert_eq!((again.status(), again.body.len()), (304, 0));
    // One version for all of them: an open page learns from any file that another one has changed.
    let page = site.ask("GET / HTTP/1.1\nHost: localhost").await;
    assert_eq!(page.header("etag"), Some(etag));
    let told = format!("<meta name=\"version\" content={etag}>");
    assert!(String::from_utf8_lossy(&page.body).contains(&told), "{told}");
    let head = site.ask("HEAD /app.mjs HTTP/1.1\nHost: localhost").await;
    assert_eq!((head.status(), head.header("etag"), head.body.len()), (200, Some(etag), 0));
    for (path, media_type) in [
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/icon-512.png", "image/png"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.mjs", "text/javascript; charset=utf-8"),
    ] {
        let answer = site.ask(&format!("GET {path} HTTP/1.1\nHost: localhost")).await;
        assert_eq!(
            (answer.status(), answer.header("content-type")),
            (200, Some(media_type)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_websocket_opens_to_its_own_page_alone() {
    let site = site().await;
    const KEY: &str = "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let good = format!("{KEY}\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: mqtt");
    for (headers, status) in [
        (format!("Host: hub.local\nOrigin: http://hub.local\n{good}"), 101),
        (format!("Host: hub.local\nOrigin: http://evil.example\n{good}"), 403),
        (format!("Host: hub.local\nOrigin: null\n{good}"), 403),
        (format!("Host: hub.local\n{good}"), 403),
        // A foreign name that leads here: Origin and Host agree.
        (format!("Host: evil.example\nOrigin: http://evil.example\n{good}"), 421),
        (
            format!("Host: hub.local\nOrigin: http://hub.local\n{KEY}\nSec-WebSocket-Version: 13"),
            400,
        ),
        (
            format!(
                "Host: hub.local\nOrigin: http://hub.local\n{KEY}\nSec-WebSocket-Version: 8\nSec-WebSocket-Protocol: mqtt"
            ),
            426,
        ),
        (
            format!(
                "Host: hub.local\nOrigin: http://hub.local\n{}",
                good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")
            ),
            400,
        ),
    ] {
        assert_eq!(site.shake(&headers).await, status, "{headers}");
    }
}

#[tokio::test]
async fn a_configuration_is_checked_with_all_its_problems_and_exit_codes_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.toml");
    std::fs::write(&file, "listen = [\"x\"]\n[limits]\nframe = \"1B\"\n").unwrap();
    let (code, said) = run(&file, &[]).await;
    assert_eq!(code, Some(78));
    assert!(
        said.contains("w.toml:1:11: listen[0]: ") && said.contains("w.toml:3:9: limits.frame: "),
        "{said}"
    );
    let check = |text: &'static str| {
        std::fs::write(&file, text).unwrap();
        let file = file.clone();
        async move {
            let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_hearth-web"))
                .args(["check", "--config"])
                .arg(file)
                .output();
            output.await.unwrap().status.code()
        }
    };
    assert_eq!(check("frame = 1\n").await, Some(78));
    assert_eq!(check("listen = [\"127.0.0.1:0\"]\n").await, Some(0));
    assert_eq!(run(&file, &["--nonsense"]).await.0, Some(64));
    std::fs::write(&file, "[tls]\ncertificate_file = \"no\"\nkey_file = \"no\"\n").unwrap();
    assert_eq!(run(&file, &[]).await.0, Some(78));
    // Where the page is, everybody may ask, also who may not read its key.
    let address = tokio::process::Command::new(env!("CARGO_BIN_EXE_hearth-web"))
        .args(["address", "--config"])
        .arg(&file)
        .output();
    let address = address.await.unwrap();
    assert!(address.status.success(), "{address:?}");
    let listed = String::from_utf8(address.stdout).unwrap();
    assert!(listed.lines().all(|line| line.starts_with("https://")), "{listed}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(&file, format!("listen = [\"{}\"]\n", taken.local_addr().unwrap())).unwrap();
    assert_eq!(run(&file, &[]).await.0, Some(69));
}
