//! Inspection against the real clamd, and against peers that misbehave the way a broken clamd would.
//!
//! The peers are plain listeners with a fixed answer: they stand in for a hung or garbled scanner, not for our code.

#[path = "inspect/peer.rs"]
mod peer;
#[path = "inspect/scanner.rs"]
mod scanner;
#[path = "inspect/servers.rs"]
mod servers;

use std::io::{Cursor, Write};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use vestibule::clock::Clock;
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::content::{ContentRules, Handling};
use vestibule::domain::filename::Filename;
use vestibule::domain::media::MediaType;
use vestibule::domain::refusal::Reason;
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::storage::{ByteStream, StorageError};
use vestibule::worker::inspect::{Declared, InspectError, Inspector, Open, ScannerAddress, ScannerConfig};
use zip::write::SimpleFileOptions;

use crate::harness::{eicar, env, fixture};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const DOCM: &str = "application/vnd.ms-word.document.macroenabled.12";

fn socket() -> ScannerAddress {
    ScannerAddress::Unix(env("VESTIBULE_TEST_CLAMD_SOCKET").into())
}

fn config(address: ScannerAddress) -> ScannerConfig {
    ScannerConfig { spool_directory: std::env::temp_dir(), ..ScannerConfig::at(address) }
}

fn inspector() -> Inspector {
    Inspector::new(config(socket()), Clock::system())
}

/// One upload as its record and manifest describe it.
#[derive(Clone)]
struct Upload {
    name: &'static str,
    media: MediaType,
    bytes: Vec<u8>,
    size: u64,
    sha256: Option<Sha256Digest>,
    rules: ContentRules,
}

fn upload(name: &'static str, media: &str, bytes: impl Into<Vec<u8>>) -> Upload {
    let (media, bytes): (MediaType, Vec<u8>) = (media.parse().unwrap(), bytes.into());
    let rules = ContentRules {
        types: vec![media.clone()],
        active_content: Handling::Reject,
        encrypted: Handling::Reject,
        max_unpacked_bytes: 256 << 20,
        max_entries: 1000,
        max_ratio: 100,
    };
    Upload { name, media, size: bytes.len() as u64, bytes, sha256: None, rules }
}

impl Upload {
    async fn inspect(&self, inspector: &Inspector) -> Result<Verdict, InspectError> {
        let bytes = Bytes::from(self.bytes.clone());
        self.inspect_opened(inspector, &move || ready(chunks_of(bytes.clone()))).await
    }

    /// Of a stream that can be opened once.
    async fn inspect_stream(&self, inspector: &Inspector, stream: ByteStream) -> Result<Verdict, InspectError> {
        let stream = Mutex::new(Some(stream));
        self.inspect_opened(inspector, &|| ready(stream.lock().unwrap().take().unwrap())).await
    }

    async fn inspect_opened<'a>(&self, inspector: &Inspector, open: &Open<'a>) -> Result<Verdict, InspectError> {
        let staged = StoredBytes { etag: "\"e\"".into(), version: None, size: self.bytes.len() as u64 };
        let filename = Filename::sanitise(self.name).unwrap();
        let declared = Declared {
            staged: &staged,
            size: self.size,
            content_type: &self.media,
            filename: &filename,
            sha256: self.sha256.as_ref(),
            rules: &self.rules,
        };
        inspector.inspect(open, declared).await
    }

    async fn finding(&self) -> Finding {
        self.inspect(&inspector()).await.unwrap().finding
    }
}

fn ready(stream: ByteStream) -> BoxFuture<'static, Result<ByteStream, StorageError>> {
    Box::pin(std::future::ready(Ok(stream)))
}

fn chunks_of(mut bytes: Bytes) -> ByteStream {
    let chunk = move || (!bytes.is_empty()).then(|| Ok(bytes.split_to(bytes.len().min(10_000))));
    stream::iter(std::iter::from_fn(chunk)).boxed()
}

async fn is_clean(upload: Upload) {
    let found = upload.finding().await;
    assert_eq!(found, Finding::Clean, "{} as {}", upload.name, upload.media);
}

async fn is_rejected(upload: Upload, expected: Reason) {
    match upload.finding().await {
        Finding::Rejected { reason, detail } => {
            assert_eq!(reason, expected, "{} as {}: {detail}", upload.name, upload.media);
            assert!(detail.ends_with('.') && detail.len() < 300, "{detail}");
        }
        other => panic!("{} as {}: {other:?}", upload.name, upload.media),
    }
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn clean_files_of_every_kind_are_clean() {
    for (name, media) in [
        ("menu.jpg", "image/jpeg"),
        ("menu.png", "image/png"),
        ("menu.webp", "image/webp"),
        ("invoice.pdf", "application/pdf"),
        ("invoices.csv", "text/csv"),
        ("data.json", "application/json"),
        ("data.xml", "application/xml"),
        ("data.xml", "text/xml"),
        ("drawing.svg", "image/svg+xml"),
        ("note.txt", "text/plain"),
        ("plain.docx", DOCX),
    ] {
        is_clean(upload(name, media, fixture(name))).await;
    }
    is_clean(upload("two.zip", "application/zip", zipped(&[("a.txt", b"a"), ("b/c.csv", b"1,2\n")]))).await;
    is_clean(upload("empty.txt", "text/plain", "")).await;
    is_clean(upload("page.html", "text/html", "<!DOCTYPE html><p>Open 8 to 18</p>")).await;
}

#[tokio::test]
async fn a_verdict_names_the_engine_and_the_bytes() {
    let png = upload("menu.png", "image/png", fixture("menu.png"));
    let verdict = png.inspect(&inspector()).await.unwrap();
    assert!(verdict.engine.starts_with("ClamAV 1."), "{verdict:?}");
    assert!(!verdict.signatures.is_empty());
    assert_eq!(verdict.sha256, Sha256Digest::of(&png.bytes));
    assert_eq!(verdict.bytes.size, png.bytes.len() as u64);
    assert_eq!(verdict.detected, Some("image/png".parse().unwrap()));
}

#[tokio::test]
async fn malware_is_found_wherever_it_is_and_whatever_else_is_wrong() {
    let nested = zipped(&[("x.zip", &zipped(&[("eicar.com", &eicar())]))]);
    for (name, media, bytes) in [
        ("eicar.txt", "text/plain", eicar()),
        ("eicar.zip", "application/zip", zipped(&[("eicar.com", &eicar())])),
        ("nested.zip", "application/zip", nested),
        ("menu.png", "image/png", eicar()),
    ] {
        let mut upload = upload(name, media, bytes);
        for size in [upload.size, upload.size + 1] {
            upload.size = size;
            let found = upload.finding().await;
            assert!(
                matches!(&found, Finding::Infected { signature } if signature.contains("EICAR") || signature.contains("Eicar")),
                "{name}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn encrypted_archives_follow_the_manifest() {
    let mut locked = upload("a.zip", "application/zip", fixture("encrypted.zip"));
    is_rejected(locked.clone(), Reason::ArchiveEncrypted).await;
    locked.rules.encrypted = Handling::Hold;
    assert_eq!(locked.finding().await.as_str(), "cannotBeJudged");
    locked.rules.encrypted = Handling::Allow;
    is_clean(locked).await;
    let pdf = [fixture("invoice.pdf"), b"trailer <</Encrypt 9 0 R>>\n".to_vec()].concat();
    is_rejected(upload("a.pdf", "application/pdf", pdf), Reason::ArchiveEncrypted).await;
}

#[tokio::test]
async fn bombs_are_measured_and_nesting_ends() {
    is_rejected(upload("bomb.zip", "application/zip", fixture("bomb.zip")), Reason::ArchiveUnsafe).await;
    let mut bytes = upload("bomb.zip", "application/zip", fixture("bomb.zip"));
    (bytes.rules.max_ratio, bytes.rules.max_unpacked_bytes) = (u64::MAX, 1 << 20);
    is_rejected(bytes.clone(), Reason::ArchiveUnsafe).await;
    bytes.rules.max_unpacked_bytes = u64::MAX;
    is_clean(bytes).await;
    let many: Vec<String> = (0..11).map(|n| format!("{n}.txt")).collect();
    let entries: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let mut many = upload("many.zip", "application/zip", zipped(&entries));
    many.rules.max_entries = 10;
    is_rejected(many, Reason::ArchiveUnsafe).await;
    assert_eq!(
        upload("nested.zip", "application/zip", fixture("nested.zip")).finding().await.as_str(),
        "cannotBeJudged"
    );
}

#[tokio::test]
async fn archives_on_which_readers_could_disagree_are_rejected() {
    let plain = zipped(&[("a.txt", b"hello hello hello"), ("b.txt", b"world")]);
    let mut appended = plain.clone();
    appended.extend(b"<script>");
    is_rejected(upload("a.zip", "application/zip", appended), Reason::ArchiveUnsafe).await;
    let mut renamed = plain.clone();
    let at = renamed.windows(5).position(|window| window == b"a.txt").unwrap();
    renamed[at] = b'z';
    is_rejected(upload("a.zip", "application/zip", renamed), Reason::ArchiveUnsafe).await;
    let cut = plain[..plain.len() - 10].to_vec();
    is_rejected(upload("a.zip", "application/zip", cut), Reason::ArchiveUnsafe).await;
}

#[tokio::test]
async fn documents_with_macros_follow_the_manifest() {
    let macros = fixture("macro.docm");
    is_rejected(upload("a.docx", DOCX, macros.clone()), Reason::ActiveContent).await;
    is_rejected(upload("a.docm", DOCM, macros.clone()), Reason::ActiveContent).await;
    let mut allowed = upload("a.docm", DOCM, macros);
    allowed.rules.active_content = Handling::Hold;
    assert_eq!(allowed.finding().await.as_str(), "cannotBeJudged");
    allowed.rules.active_content = Handling::Allow;
    is_clean(allowed).await;
}

#[tokio::test]
async fn content_that_is_something_else_is_rejected() {
    let png_behind_text = [b"\n".to_vec(), fixture("menu.png")].concat();
    for (name, media, bytes) in [
        ("a.png", "image/png", fixture("page.html")),
        ("a.png", "image/png", b"#!/bin/sh\nrm -rf x\n".to_vec()),
        ("a.png", "image/png", fixture("menu.jpg")),
        ("a.png", "image/png", png_behind_text),
        ("a.pdf", "application/pdf", [b"x".to_vec(), fixture("invoice.pdf")].concat()),
        ("a.jpg", "image/jpeg", Vec::new()),
        ("a.zip", "application/zip", fixture("plain.docx")),
        ("a.docx", DOCX, zipped(&[("a.txt", b"a")])),
        ("a.csv", "text/csv", fixture("page.html")),
        ("a.csv", "text/csv", b"a,b\n1,\"2\n".to_vec()),
        ("a.csv", "text/csv", fixture("menu.png")),
        ("a.json", "application/json", b"{\"a\": 1,}".to_vec()),
        ("a.json", "application/json", fixture("page.html")),
        ("a.xml", "application/xml", b"<a><b></a>".to_vec()),
        ("a.xml", "application/xml", fixture("drawing.svg")),
        ("a.svg", "image/svg+xml", fixture("data.xml")),
        ("a.txt", "text/plain", b"a\0b".to_vec()),
        ("a.html", "image/png", fixture("menu.png")),
    ] {
        is_rejected(upload(name, media, bytes), Reason::TypeMismatch).await;
    }
    let mut unlisted = upload("menu.png", "image/png", fixture("menu.png"));
    unlisted.rules.types = vec!["image/jpeg".parse().unwrap()];
    is_rejected(unlisted, Reason::TypeMismatch).await;
}

#[tokio::test]
async fn scripts_in_svg_html_and_pdf_are_active_content() {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    is_rejected(upload("a.svg", "image/svg+xml", svg), Reason::ActiveContent).await;
    is_rejected(upload("page.html", "text/html", fixture("page.html")), Reason::ActiveContent).await;
    let pdf = [fixture("invoice.pdf"), b"\n9 0 obj <</S /JavaScript /JS (x)>> endobj\n".to_vec()].concat();
    is_rejected(upload("a.pdf", "application/pdf", pdf), Reason::ActiveContent).await;
}

#[tokio::test]
async fn length_and_digest_must_be_the_declared_ones() {
    let mut png = upload("menu.png", "image/png", fixture("menu.png"));
    png.sha256 = Some(Sha256Digest::of(&png.bytes));
    is_clean(png.clone()).await;
    for size in [png.size - 1, png.size + 1, 0] {
        let wrong = Upload { size, ..png.clone() };
        is_rejected(wrong, Reason::SizeMismatch).await;
    }
    png.sha256 = Some(Sha256Digest::of(b"other"));
    is_rejected(png, Reason::ChecksumMismatch).await;
}

#[tokio::test]
async fn an_endless_upload_is_left_at_the_declared_length() {
    let mut txt = upload("a.txt", "text/plain", vec![b'a'; 1000]);
    txt.size = 500;
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'a'; 1000]))).boxed();
    let found = txt.inspect_stream(&inspector(), endless).await.unwrap().finding;
    assert!(matches!(found, Finding::Rejected { reason: Reason::SizeMismatch, .. }), "{found:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_or_falls_short_gives_no_verdict() {
    let txt = upload("a.txt", "text/plain", vec![b'a'; 1000]);
    for (error, transient) in [
        (StorageError::Unavailable("reset".into()), true),
        (StorageError::PreconditionFailed, false),
        (StorageError::NotFound, false),
    ] {
        let broken = stream::iter([Ok(Bytes::from_static(b"aaa")), Err(error)]).boxed();
        let error = txt.inspect_stream(&inspector(), broken).await.unwrap_err();
        assert!(matches!(error, InspectError::Stream(_)), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
    }
    let short = stream::iter([Ok(Bytes::from_static(b"aaa"))]).boxed();
    let error = txt.inspect_stream(&inspector(), short).await.unwrap_err();
    assert!(matches!(error, InspectError::Incomplete { expected: 1000, read: 3 }) && error.is_transient(), "{error}");
    let mut config = config(socket());
    config.stall_timeout = Duration::from_millis(200);
    let silent = stream::pending().boxed();
    let error = txt.inspect_stream(&Inspector::new(config, Clock::system()), silent).await.unwrap_err();
    assert!(matches!(error, InspectError::SourceStalled(_)) && error.is_transient(), "{error}");
}

/// Peak resident memory of this process in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn memory_is_bounded_whatever_the_size() {
    const SIZE: u64 = 256 << 20;
    let mut large = upload("a.bin", "application/octet-stream", "");
    large.size = SIZE;
    let staged = StoredBytes { etag: "\"e\"".into(), version: None, size: SIZE };
    let filename = Filename::sanitise(large.name).unwrap();
    let declared = Declared {
        staged: &staged,
        size: SIZE,
        content_type: &large.media,
        filename: &filename,
        sha256: None,
        rules: &large.rules,
    };
    let chunk = Bytes::from(vec![0xa5_u8; 1 << 20]);
    let before = peak_kib();
    let open = || {
        let chunk = chunk.clone();
        ready(stream::iter((0..SIZE >> 20).map(move |_| Ok(Bytes::copy_from_slice(&chunk)))).boxed())
    };
    let verdict = inspector().inspect(&open, declared).await.unwrap();
    assert_eq!(verdict.finding, Finding::Clean);
    let grown = (peak_kib() - before) / 1024;
    assert!(grown < 64, "grew by {grown} MiB");
}
