//! Servers that answer with anything but the file: nothing of it ever lies under the final name.

use std::fs;
use std::thread;
use std::time::Duration;

use mspipe_datasets::fetch::{FetchError, Proof};
use mspipe_datasets::manifest::Manifest;
use mspipe_datasets::{OpenOptions, Severity, check};

use crate::place::{Place, content, events, hex};
use crate::server::{ETAG, Reply, Server, serve};

/// Events of the file that is expected.
const EVENTS: i64 = 50;

/// Fetches what `reply` sends, knowing that it has 50 events from node 1 to node 2.
fn refusal(name: &str, reply: impl Fn() -> Reply + Send + 'static) -> String {
    let server = Server::start(move |_, _| reply());
    let place = Place::at(&server)
        .counted("events", EVENTS)
        .counted("last_time", 10_049);
    let message = match place.fetch() {
        Ok(report) => panic!("{name}: {report}"),
        Err(error) => place.message(&error),
    };
    assert!(!place.path("s.txt").exists(), "{name}: {message}");
    assert!(!place.path("s.txt.sha256").exists(), "{name}: {message}");
    assert_eq!(place.files(), [""; 0], "{name}: {message}");
    message
}

#[test]
fn pages_are_known_by_type_and_by_content() {
    for kind in [
        "text/html",
        "Text/HTML",
        "TEXT/HTML;charset=utf-8",
        "text/html ; charset=x",
        "application/xhtml+xml",
        "Application/JSON",
        "application/problem+json",
        "application/xml",
    ] {
        let message = refusal(kind, move || {
            Reply::new("200 OK", &content(500)).header("Content-Type", kind)
        });
        let start = format!(
            "URL: the server sent a page (`{kind}`), expected the file; does this network want a login?"
        );
        assert!(message.starts_with(&start), "{message}");
    }
    for (body, found) in [
        (
            "<!DOCTYPE html><html>Log in</html>",
            "a web page that begins with `<!DOCTYPE html>",
        ),
        ("  \r\n<html>", "a web page that begins with `<html>`"),
        (
            "<?xml version='1.0'?><Error>",
            "a web page that begins with `<?xml",
        ),
        ("{\"error\": \"quota\"}", "JSON that begins with `{"),
        ("[]", "JSON that begins with `[]`"),
        ("", "it is empty"),
        (" \n", "it is empty"),
        (
            "Service is down",
            "not the file: s.txt: no column is recognised by name",
        ),
        ("1 2 10000\nService is down\n", "not the file: s.txt:2: "),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
            "not the file: s.txt",
        ),
        ("\0\0\0\0\0\0\0\0", "not the file: s.txt"),
        ("\u{1f}\u{8b}\u{8}", "not the file: s.txt"),
    ] {
        for typed in [true, false] {
            let message = refusal(body, move || match typed {
                true => Reply::new("200 OK", body.as_bytes()).header("Content-Type", "text/plain"),
                false => Reply::new("200 OK", body.as_bytes()),
            });
            assert!(message.contains(found), "{body:?}: {message}");
            assert!(
                message.contains("they were removed; fetch again later, or by hand: download URL")
            );
        }
    }
}

#[test]
fn a_body_without_a_length_is_proven_by_its_events_or_not_at_all() {
    let short = refusal("cut between two events", || {
        Reply::new("200 OK", &content(400)).until_close()
    });
    assert_eq!(
        short,
        "URL: the 400 bytes that came are not this data set: events: found 40, expected 50 (counted in a real file: \
         counted), last_time: found 10039, expected 10049 (counted in a real file: counted); they were removed; \
         fetch again later, or by hand: download URL elsewhere and put the file at DATA/small/s.txt"
    );
    // In the middle of an event: the time 1004 instead of 10049 is a number all the same.
    refusal("cut within an event", || {
        Reply::new("200 OK", &content(500)[..498]).until_close()
    });
    refusal("nothing", || Reply::new("200 OK", b"").until_close());
    refusal("fewer in chunks", || Reply {
        length: None,
        ..Reply::new("200 OK", &content(490))
    });
    refusal("all and more", || {
        Reply::new("200 OK", &content(510)).until_close()
    });

    let server = Server::start(|_, _| Reply::new("200 OK", &content(500)).until_close());
    let place = Place::at(&server).counted("events", EVENTS);
    let report = place.fetch().unwrap();
    assert!(
        matches!(&report.files[0].proof, Proof::Events { events: EVENTS, agreed, verified: true } if *agreed == ["events"])
    );
    assert_eq!(place.bytes("s.txt"), content(500));

    let place = Place::at(&server);
    assert_eq!(
        place.message(&place.fetch().unwrap_err()),
        "URL: the server does not say how long the file is, and its size, its sha256 and its number of events are \
         not known: nothing shows that the 500 bytes that came are all of it; they were removed; fetch again later, \
         or by hand: download URL elsewhere and put the file at DATA/small/s.txt"
    );
    assert_eq!(place.files(), [""; 0]);
    let place = Place::at(&server).with(&format!("sha256 = '{}'", hex(&content(500))));
    place.fetch().unwrap();
}

#[test]
fn a_whole_file_of_another_stream_is_refused() {
    refusal("another number of events", || {
        Reply::new("200 OK", &content(490))
    });
    refusal("other times", || {
        Reply::new("200 OK", &b"1 2 3\n".repeat(50))
    });
    let server = Server::start(|_, _| Reply::new("200 OK", &events(500, "1 1")));
    let place = Place::at(&server).counted("nodes", 2);
    let message = place.message(&place.fetch().unwrap_err());
    assert!(
        message.contains("nodes: found 1, expected 2 (counted in a real file"),
        "{message}"
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn what_an_earlier_version_certified_is_looked_at_again() {
    let place = Place::new("http://no-such-host.invalid/s.txt").counted("events", EVENTS);
    fs::create_dir_all(place.path("")).unwrap();
    let junk = b"Service is down";
    fs::write(place.path("s.txt"), junk).unwrap();
    fs::write(
        place.path("s.txt.sha256"),
        format!("{}  s.txt\n", hex(junk)),
    )
    .unwrap();
    let message = place.message(&place.fetch().unwrap_err());
    assert!(
        message.starts_with(
            "DATA/small/s.txt: this is not the data set's file: s.txt: no column is recognised"
        ),
        "{message}"
    );
    assert!(
        message.ends_with("; move it away and fetch again"),
        "{message}"
    );
    fs::write(place.path("s.txt"), content(400)).unwrap();
    fs::remove_file(place.path("s.txt.sha256")).unwrap();
    let message = place.message(&place.fetch().unwrap_err());
    assert!(
        message.contains("events: found 40, expected 50"),
        "{message}"
    );
    assert_eq!(
        place.bytes("s.txt"),
        content(400),
        "it is not ours to remove"
    );
}

#[test]
fn check_of_another_stream_under_a_data_sets_name_finds_errors() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::find("collegemsg").unwrap();
    let file = manifest.local_file(folder.path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content(500)).unwrap();
    let options = OpenOptions {
        data_dir: Some(folder.path().to_owned()),
        cache_dir: Some(folder.path().join("cache")),
        ..OpenOptions::default()
    };
    let findings = check("collegemsg", &options).unwrap();
    let errors: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.code)
        .collect();
    assert!(
        errors.len() >= 5 && errors.iter().all(|code| *code == "manifest-mismatch"),
        "{errors:?}"
    );
}

#[test]
fn a_stop_keeps_what_can_be_continued() {
    let server = Server::start(|number, request| Reply {
        cut: (number == 0).then_some(1000),
        silent: number == 0,
        ..serve(request, &content(5000), ETAG)
    });
    let place = Place::at(&server);
    let part = place.path("s.txt.part");
    let error = thread::scope(|scope| {
        let fetching = scope.spawn(|| place.fetch().unwrap_err());
        while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 1000 {
            assert!(!fetching.is_finished(), "it ended by itself");
            thread::sleep(Duration::from_millis(1));
        }
        place.stop.request();
        fetching.join().unwrap()
    });
    assert!(
        matches!(
            &error,
            FetchError::Stopped {
                bytes: 1000,
                part: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        place.message(&error),
        "URL: interrupted after 1000 bytes; they are kept in DATA/small/s.txt.part: run the same command again to \
         continue"
    );
    assert_eq!(place.files(), ["s.txt.part", "s.txt.part.json"]);
}

#[cfg(unix)]
#[test]
fn links_under_names_that_fetching_uses_are_not_followed() {
    use std::os::unix::fs::symlink;

    let server = Server::start(|_, request| serve(request, &content(500), ETAG));
    for name in [
        ".fetch.lock",
        "s.txt.part",
        "s.txt.part.json",
        "s.txt.sha256",
    ] {
        for hard in [false, true] {
            let place = Place::at(&server);
            fs::create_dir_all(place.path("")).unwrap();
            let victim = place.dir.path().join("victim");
            fs::write(&victim, "mine").unwrap();
            match hard {
                true => fs::hard_link(&victim, place.path(name)).unwrap(),
                false => symlink(&victim, place.path(name)).unwrap(),
            }
            let message = place.message(&place.fetch().unwrap_err());
            assert!(
                message.starts_with(&format!(
                    "DATA/small/{name}: a link, or no plain file, where fetching keeps its own"
                )),
                "{message}"
            );
            assert_eq!(fs::read(&victim).unwrap(), b"mine", "{name}");
            assert!(!place.path("s.txt").exists(), "{name}");
        }
    }
    // To what is not there yet, too; and a data set's own name that leads nowhere stays a link.
    for name in [".fetch.lock", "s.txt.part", "s.txt"] {
        let place = Place::at(&server);
        fs::create_dir_all(place.path("")).unwrap();
        let victim = place.dir.path().join("new");
        symlink(&victim, place.path(name)).unwrap();
        assert!(
            matches!(place.fetch(), Err(FetchError::NotPlain { .. })),
            "{name}"
        );
        assert!(!victim.exists() && place.path(name).is_symlink(), "{name}");
    }
}
