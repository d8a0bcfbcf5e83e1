//! Continuing a download, and when it must start over instead.

use mspipe_datasets::fetch::{FetchError, Restart};

use crate::place::{Place, content, events, hex};
use crate::server::{ETAG, Reply, Request, Server, serve};

#[test]
fn damaged_prefix_of_an_earlier_run_is_found() {
    let server = Server::start(|_, request| serve(request, &content(5000), ETAG));
    let place = Place::at(&server).with(&format!("sha256 = '{}'", hex(&content(5000))));
    place.leave_valid_part(&[0; 1000], 5000);
    assert!(matches!(
        place.fetch(),
        Err(FetchError::WrongDigest { bytes: 5000, .. })
    ));
    assert_eq!(place.files(), [""; 0]);
    place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), content(5000));
}

#[test]
fn dropped_connection_is_continued_where_it_stopped() {
    for step in [1, 7, 99, 100, 299] {
        let server =
            Server::start(move |_, request| serve(request, &content(300), ETAG).drop_after(step));
        let place = Place::at(&server);
        let report = place.fetch().unwrap();
        assert_eq!(place.bytes("s.txt"), content(300));
        let requests = server.requests();
        assert_eq!(requests.len(), 300usize.div_ceil(step));
        assert_eq!(requests[0].range(), (None, None));
        assert_eq!(
            requests[1].range(),
            (Some(format!("bytes={step}-").as_str()), Some(ETAG))
        );
        let download = report.files[0].download.as_ref().unwrap();
        assert_eq!(
            (
                download.attempts as usize,
                download.resumed_from,
                download.restarted
            ),
            (requests.len(), 0, None)
        );
    }
}

#[test]
fn transfer_that_can_not_go_on_keeps_its_bytes_for_the_next_run() {
    let server = Server::start(|number, request| match number {
        0 => serve(request, &content(5000), ETAG).drop_after(1200),
        1..=3 => serve(request, &content(5000), ETAG).drop_after(0),
        _ => serve(request, &content(5000), ETAG),
    });
    let place = Place::at(&server);
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Interrupted {
                bytes: 1200,
                total: Some(5000),
                attempts: 3,
                ..
            }
        ),
        "{error:?}"
    );
    let message = place.message(&error);
    assert!(
        message.starts_with("URL: broke off after 1200 of 5000 bytes (3 attempts, the last one: "),
        "{message}"
    );
    let end = "); they are kept in DATA/small/s.txt.part: run the same command again to continue";
    assert!(message.ends_with(end), "{message}");
    assert_eq!(place.files(), ["s.txt.part", "s.txt.part.json"]);

    assert!(place.fetch().is_ok());
    assert_eq!(
        server.requests()[3].range(),
        (Some("bytes=1200-"), Some(ETAG))
    );
    assert_eq!(place.bytes("s.txt"), content(5000));
    assert_eq!(place.files(), ["s.txt", "s.txt.sha256"]);
    let record = String::from_utf8(place.bytes("s.txt.sha256")).unwrap();
    assert_eq!(
        record,
        format!("{}  s.txt\n", hex(&content(5000))),
        "the bytes of the first run count too"
    );
}

#[test]
fn server_without_ranges_starts_over() {
    let server = Server::start(|_, _| Reply::new("200 OK", &content(5000)).header("ETag", ETAG));
    let place = Place::at(&server);
    place.leave_valid_part(&content(1000), 5000);
    let report = place.fetch().unwrap();
    assert_eq!(
        report.files[0].download.as_ref().unwrap().restarted,
        Some(Restart::NoRangeSupport)
    );
    assert!(place.report(&report).starts_with(
        "DATA/small/s.txt: downloaded, 5000 bytes (started over, as the server can't continue a download); 500 events"
    ));
    assert_eq!(
        server.requests()[0].range(),
        (Some("bytes=1000-"), Some(ETAG))
    );
    assert_eq!(place.bytes("s.txt"), content(5000));
}

#[test]
fn server_without_ranges_that_always_drops_is_given_up() {
    let server = Server::start(|_, _| {
        Reply::new("200 OK", &content(5000))
            .header("ETag", ETAG)
            .drop_after(800)
    });
    let place = Place::at(&server);
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(error, FetchError::Interrupted { bytes: 800, .. }),
        "{error:?}"
    );
    assert!(server.requests().len() <= 4);
}

#[test]
fn versions_are_never_mixed() {
    let new = |len| events(len, "3 4");
    let answers: [fn(&Request, &[u8]) -> Reply; 4] = [
        // If-Range honoured: the whole new file.
        |request, new| serve(request, new, "\"v2\""),
        // If-Range ignored: a part of the new file.
        |request, new| match request.range().0 {
            Some(_) => Reply::new("206 Partial Content", &new[1000..])
                .header("ETag", "\"v2\"")
                .header("Content-Range", "bytes 1000-4999/5000"),
            None => serve(request, new, "\"v2\""),
        },
        // If-Range ignored, and not even the place asked for.
        |request, new| match request.range().0 {
            Some(_) => Reply::new("206 Partial Content", &new[900..])
                .header("Content-Range", "bytes 900-4999/5000"),
            None => serve(request, new, "\"v2\""),
        },
        // The new file is shorter than what is here.
        |request, new| match request.range().0 {
            Some(_) => {
                Reply::new("416 Range Not Satisfiable", b"").header("Content-Range", "bytes */500")
            }
            None => serve(request, &new[..500], "\"v2\""),
        },
    ];
    for (case, answer) in answers.into_iter().enumerate() {
        let server = Server::start(move |_, request| answer(request, &new(5000)));
        let place = Place::at(&server);
        place.leave_valid_part(&content(1000), 5000);
        let report = place.fetch().unwrap();
        assert_eq!(
            report.files[0].download.as_ref().unwrap().restarted,
            Some(Restart::FileChanged),
            "case {case}"
        );
        assert!(
            report
                .to_string()
                .contains("(started over, as the file at the address has changed)")
        );
        assert_eq!(
            place.bytes("s.txt"),
            new(5000)[..if case == 3 { 500 } else { 5000 }],
            "case {case}"
        );
    }
}

#[test]
fn part_of_unknown_origin_is_not_continued() {
    let server = Server::start(|_, request| serve(request, &content(5000), ETAG));
    let no_validator = format!(
        r#"{{"url": "{}", "etag": null, "last_modified": null, "total": 5000}}"#,
        server.url()
    );
    let weak = no_validator.replace(r#""etag": null"#, r#""etag": "W/\"v1\"""#);
    let elsewhere =
        r#"{"url": "http://h/s.txt", "etag": "\"v1\"", "last_modified": null, "total": 5000}"#;
    for state in ["", "{", no_validator.as_str(), weak.as_str(), elsewhere] {
        let place = Place::at(&server);
        place.leave_part(b"foreign bytes", state);
        place.fetch().unwrap();
        assert_eq!(place.bytes("s.txt"), content(5000));
        assert_eq!(
            server.requests().last().unwrap().range(),
            (None, None),
            "{state}"
        );
    }
}

#[test]
fn last_modified_is_enough_to_continue() {
    let date = "Wed, 29 Jun 2022 00:00:00 GMT";
    let server = Server::start(move |number, request| match number {
        0 => Reply::new("200 OK", &content(5000))
            .header("Last-Modified", date)
            .drop_after(700),
        _ => {
            assert_eq!(request.range(), (Some("bytes=700-"), Some(date)));
            Reply::new("206 Partial Content", &content(5000)[700..])
                .header("Content-Range", "bytes 700-4999/5000")
        }
    });
    let place = Place::at(&server);
    place.fetch().unwrap();
    assert_eq!(place.bytes("s.txt"), content(5000));
}

#[test]
fn complete_part_is_only_verified_and_renamed() {
    let place = Place::new("http://no-such-host.invalid/s.txt");
    place.leave_valid_part(&content(5000), 5000);
    let report = place.fetch().unwrap();
    assert_eq!(report.files[0].download.as_ref().unwrap().attempts, 0);
    assert_eq!(place.files(), ["s.txt", "s.txt.sha256"]);
}
