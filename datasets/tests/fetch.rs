//! Fetching against a local HTTP server that misbehaves in every way that a publisher's server has been seen to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fetch/continuing.rs"]
mod continuing;
#[path = "fetch/hostile.rs"]
mod hostile;
#[path = "fetch/place.rs"]
mod place;
#[path = "fetch/server.rs"]
mod server;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;

use flate2::{Compression, write::GzEncoder};
use mspipe_datasets::fetch::{DigestCheck, FetchError};

use crate::place::{Place, content, hex};
use crate::server::{ETAG, Reply, Request, Server, serve};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn first_fetch_records_the_digest_and_the_second_compares_it() {
    let server = Server::start(|_, request| serve(request, &content(200_000), ETAG));
    let place = Place::at(&server);
    let digest = hex(&content(200_000));
    let report = place.fetch().unwrap();
    assert_eq!(
        place.report(&report),
        format!(
            "DATA/small/s.txt: downloaded, 200000 bytes; 20000 events read, with nothing to compare them with; \
             no sha256 is published, so it is not verified; as downloaded it is {digest}, recorded in \
             DATA/small/s.txt.sha256"
        )
    );
    assert_eq!(place.files(), ["s.txt", "s.txt.sha256"]);
    assert_eq!(place.bytes("s.txt"), content(200_000));
    assert_eq!(
        place.bytes("s.txt.sha256"),
        format!("{digest}  s.txt\n").into_bytes()
    );

    let again = place.fetch().unwrap();
    assert_eq!(again.files[0].check, DigestCheck::Recorded);
    assert_eq!(
        place.report(&again),
        "DATA/small/s.txt: already there, 200000 bytes; 20000 events read, with nothing to compare them with; \
         unchanged since its download; no sha256 is published, so the download itself is not verified"
    );
    assert_eq!(server.requests().len(), 1);

    fs::write(place.path("s.txt"), "damaged").unwrap();
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        format!(
            "DATA/small/s.txt: sha256 is {}, expected {digest} (recorded in DATA/small/s.txt.sha256); \
             move the file away and fetch again",
            hex(b"damaged")
        )
    );
    assert_eq!(
        place.bytes("s.txt"),
        b"damaged",
        "a file that we did not download now is not ours to remove"
    );
}

#[test]
fn published_digest_is_compared() {
    let server = Server::start(|_, request| serve(request, &content(5000), ETAG));
    let place =
        Place::at(&server).with(&format!("size = 5000, sha256 = '{}'", hex(&content(5000))));
    let report = place.fetch().unwrap();
    assert_eq!(report.files[0].check, DigestCheck::Published);
    assert_eq!(place.files(), ["s.txt"]);
    assert!(
        place
            .fetch()
            .unwrap()
            .to_string()
            .ends_with("nothing to compare them with; sha256 agrees with the published one")
    );

    fs::write(place.path("s.txt"), "short").unwrap();
    let message = place.message(&place.fetch().unwrap_err());
    assert_eq!(
        message,
        "DATA/small/s.txt: size is 5, expected 5000 (published); move the file away and fetch again"
    );
}

#[test]
fn file_put_there_by_hand_is_taken_without_a_request() {
    let place = Place::new("http://no-such-host.invalid/s.txt");
    fs::create_dir_all(place.dir.path().join("small")).unwrap();
    fs::write(place.path("s.txt"), "1 2 3\n").unwrap();
    let report = place.fetch().unwrap();
    assert_eq!(report.files[0].check, DigestCheck::NotComparable);
    assert_eq!(
        place.files(),
        ["s.txt"],
        "nothing is written beside a file that is already there"
    );
}

#[test]
fn wrong_bytes_are_removed_and_both_digests_named() {
    let server = Server::start(|_, request| serve(request, b"other bytes", ETAG));
    let expected = hex(b"right bytes");
    let place = Place::at(&server).with(&format!("sha256 = '{expected}'"));
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        format!(
            "URL: sha256 is {}, expected {expected}; the 11 downloaded bytes were removed; fetch again, \
             and if it happens again, the file at the address has changed: don't use it unchecked",
            hex(b"other bytes")
        )
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn missing_file_says_what_to_do_by_hand_at_once() {
    let server = Server::start(|_, _| Reply::new("404 Not Found", b"<html>"));
    let place = Place::at(&server);
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "URL: the server answered 404 Not Found, expected 200; the file may have moved; \
         by hand: download URL elsewhere and put the file at DATA/small/s.txt"
    );
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn server_errors_are_retried_a_bounded_number_of_times() {
    let server = Server::start(|number, request| match number {
        0 => Reply::new("500 Internal Server Error", b"oops"),
        1 => Reply::new("503 Service Unavailable", b"").header("Retry-After", "3600"),
        _ => serve(request, b"1 2 3\n", ETAG),
    });
    let place = Place::at(&server);
    assert_eq!(
        place.fetch().unwrap().files[0]
            .download
            .as_ref()
            .unwrap()
            .attempts,
        3
    );
    assert_eq!(place.bytes("s.txt"), b"1 2 3\n");

    let server = Server::start(|_, _| Reply::new("503 Service Unavailable", b""));
    let place = Place::at(&server);
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "URL: no answer after 3 attempts, the last one: the server answered 503 Service Unavailable; \
         try again later, or by hand: download URL elsewhere and put the file at DATA/small/s.txt"
    );
    assert_eq!(server.requests().len(), 3);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn silent_server_is_left_after_the_timeout() {
    let server = Server::start(|number, request| Reply {
        cut: (number == 0).then_some(100),
        silent: number == 0,
        ..serve(request, &content(300), ETAG)
    });
    let place = Place::at(&server);
    place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), content(300));
    assert_eq!(server.requests()[1].range().0, Some("bytes=100-"));
}

#[test]
fn wrong_content_length_never_becomes_a_file() {
    // Announces more than there is: looks like a dropped connection for ever.
    let server = Server::start(|_, request| match request.range().0 {
        None => Reply {
            length: Some(900),
            ..serve(request, &content(500), ETAG)
        },
        Some(_) => {
            Reply::new("206 Partial Content", b"").header("Content-Range", "bytes 500-899/900")
        }
    });
    let place = Place::at(&server);
    assert!(matches!(
        place.fetch(),
        Err(FetchError::Interrupted {
            bytes: 500,
            total: Some(900),
            ..
        })
    ));
    assert!(!place.path("s.txt").exists());

    // Announces less than the published size.
    let server = Server::start(|_, request| Reply {
        length: Some(300),
        ..serve(request, &content(500), ETAG)
    });
    let place = Place::at(&server).with("size = 500");
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "URL: 300 bytes (announced by the server), expected 500; nothing was kept; fetch again later"
    );
    assert_eq!(place.files(), [""; 0]);
    // Only the digest can tell if no size is published.
    let place = Place::at(&server).with(&format!("sha256 = '{}'", hex(&content(500))));
    assert!(matches!(
        place.fetch(),
        Err(FetchError::WrongDigest { bytes: 300, .. })
    ));
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn body_in_chunks_is_complete_or_refused() {
    let chunked = |request: &Request, cut| Reply {
        length: None,
        cut,
        ..serve(request, &content(500), ETAG)
    };
    let server = Server::start(move |_, request| chunked(request, None));
    let place = Place::at(&server).counted("events", 50);
    place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), content(500));
    // More than the published size: stopped at once.
    let place = Place::at(&server).with("size = 400");
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::WrongSize {
                expected: 400,
                what: "received so far",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(place.files(), [""; 0]);
    // Cut off, and no length to notice it by but the missing last chunk. Without a length nothing is continued.
    let server = Server::start(move |_, request| chunked(request, Some(200)));
    let place = Place::at(&server);
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Interrupted {
                bytes: 200,
                total: None,
                ..
            }
        ),
        "{error:?}"
    );
    let end = "); this server can't continue a download: run the same command again to start over";
    assert!(error.to_string().ends_with(end), "{error}");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.range() == (None, None))
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn login_page_is_not_the_file() {
    let server = Server::start(|_, _| {
        Reply::new("200 OK", b"<html>").header("Content-Type", "text/html; charset=x")
    });
    let place = Place::at(&server);
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "URL: the server sent a page (`text/html; charset=x`), expected the file; does this network want a login? fetch \
         again after it, or by hand: download URL elsewhere and put the file at DATA/small/s.txt"
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn packed_file_is_unpacked_and_its_archive_checked() {
    let text = b"1 2 1082040961\n".repeat(1000);
    let archive = gzip(&text);
    let published = format!("packed = 'gzip', sha256 = '{}'", hex(&archive));
    let server = Server::start({
        let archive = archive.clone();
        move |number, request| {
            let reply = serve(request, &archive, ETAG);
            if number == 0 {
                reply.drop_after(30)
            } else {
                reply
            }
        }
    });
    let place = Place::at(&server).with(&published);
    let report = place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), text);
    assert_eq!(place.files(), ["s.txt", "s.txt.sha256"]);
    assert_eq!(
        (report.files[0].bytes, report.files[0].check),
        (15_000, DigestCheck::Published)
    );
    assert_eq!(report.files[0].sha256, hex(&text));
    assert_eq!(place.fetch().unwrap().files[0].check, DigestCheck::Recorded);
    assert_eq!(server.requests().len(), 2);

    // Some servers declare a .gz file as compressed text, and it arrives unpacked.
    let server = Server::start({
        let archive = archive.clone();
        move |_, request| serve(request, &archive, ETAG).header("Content-Encoding", "gzip")
    });
    let place = Place::at(&server)
        .with("packed = 'gzip'")
        .counted("events", 1000);
    place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), text);

    let mut damaged = archive;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let server = Server::start(move |_, request| serve(request, &damaged, ETAG));
    let place = Place::at(&server).with("packed = 'gzip'");
    let message = place.message(&place.fetch().unwrap_err());
    assert!(message.starts_with("URL: can't be unpacked: "), "{message}");
    assert!(message.ends_with(
        "download URL elsewhere, unpack it with gunzip, and put the file at DATA/small/s.txt"
    ));
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn unknown_host_says_where_the_file_belongs() {
    let place = Place::new("http://no-such-host.invalid/s.txt");
    let message = place.message(&place.fetch().unwrap_err());
    assert!(message.starts_with("URL: no network: "), "{message}");
    let end = "; check the connection (and HTTPS_PROXY, if you need a proxy), or \
               by hand: download URL elsewhere and put the file at DATA/small/s.txt";
    assert!(message.ends_with(end), "{message}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn refused_connection_is_retried_then_explained() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let place = Place::new(&format!("http://{address}/s.txt"));
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(error, FetchError::Unavailable { attempts: 3, .. }),
        "{error:?}"
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn second_process_is_turned_away() {
    let server = Server::start(|_, request| serve(request, b"1 2 3\n", ETAG));
    let place = Place::at(&server);
    fs::create_dir_all(place.dir.path().join("small")).unwrap();
    let lock = File::create(place.path(".fetch.lock")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "DATA/small/.fetch.lock: another process is fetching this data set; wait for it to finish"
    );
    assert_eq!(server.requests().len(), 0);
    drop(lock);
    place.fetch().unwrap();
}

#[test]
fn unusable_folder_is_named() {
    let place = Place::new("http://no-such-host.invalid/s.txt");
    fs::write(
        place.dir.path().join("small"),
        "a file where the folder should be",
    )
    .unwrap();
    let message = place.message(&place.fetch().unwrap_err());
    assert!(message.starts_with("DATA/small"), "{message}");
    assert!(message.contains("can't "), "{message}");
}

#[test]
fn an_archive_of_several_files_is_kept_as_it_is_and_its_edge_list_read() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("x/x_edgelist_v2.csv", &content(5_000)[..]),
        ("x/x_val_ns_v2.pkl", b"\x80\x04}."),
        ("x/x_nodes.csv", b"1 2 3\n"),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let served = bytes.clone();
    let server = Server::start(move |_, request| serve(request, &served, ETAG));
    let place = Place::at(&server);
    let report = place.report(&place.fetch().unwrap());
    assert!(
        report.contains("; 500 events read, with nothing to compare"),
        "{report}"
    );
    assert_eq!(place.bytes("s.txt"), bytes);
}
