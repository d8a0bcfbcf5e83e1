//! Recorded candidates: text, arrays, TGB's pickles, and what is wrong with them.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mspipe_datasets::candidates::{CandidateList, read_candidates, recorded_candidates};
use mspipe_datasets::{EventLog, EventLogParts, OpenOptions};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Users 0, 1, 2 become nodes 0 to 2, items 0 to 3 nodes 3 to 6.
const JODIE: &str = "\
user_id,item_id,timestamp,state_label,comma_separated_list_of_features
0,0,0.0,0,0.5
1,1,1.0,0,0.5
0,2,2.0,0,0.5
2,1,3.0,0,0.5
1,3,4.0,0,0.5
0,0,4.0,0,0.5
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn jodie(&self) -> EventLog {
        let path = self.write("jodie.csv", JODIE);
        let options = OpenOptions {
            cache_dir: Some(self.0.path().join("cache")),
            ..OpenOptions::default()
        };
        EventLog::open(path.to_str().unwrap(), &options).unwrap()
    }
}

fn error(path: &Path, log: &EventLog) -> String {
    read_candidates(path, log).unwrap_err().to_string()
}

fn expected() -> Vec<CandidateList> {
    vec![(4, vec![3, 4]), (5, vec![4, 5, 6])]
}

#[test]
fn text_has_ids_of_the_streams_file() {
    let folder = Folder::new();
    let log = folder.jodie();
    // Items 0 and 1 of event 4; items 1, 2 and 3 of event 5.
    for text in ["4,0,1\n5,1,2,3\n", "event candidates\n4 0 1\n\n5\t1 2,3\n"] {
        let path = folder.write("candidates.csv", text);
        assert_eq!(read_candidates(&path, &log).unwrap(), expected(), "{text}");
    }
}

#[test]
fn what_the_stream_lacks_is_named_with_its_line() {
    let folder = Folder::new();
    let log = folder.jodie();
    for (text, found) in [
        (
            "4,0,1\n6,0\n",
            ":2: event 6, but the stream has events 0 to 5",
        ),
        (
            "4,0,9\n",
            ":1: candidate 9, which is not a destination of the stream",
        ),
        ("4,0\n5\n", ":2: `5` alone"),
        ("4,x\n", ":1: a candidate is `x`"),
    ] {
        let path = folder.write("candidates.csv", text);
        let error = error(&path, &log);
        assert!(error.contains(found), "{error}");
    }
}

/// A `.npy` file of version 1.
fn npy(descr: &str, rows: usize, width: usize, values: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

#[test]
fn arrays_hold_the_same_in_columns_exactly() {
    let folder = Folder::new();
    // An id that f32 can't hold.
    let big = 16_777_217;
    let log = EventLog::from_parts(EventLogParts {
        nodes: big + 1,
        src: vec![0, 1],
        dst: vec![big as u32, 2],
        time: vec![0, 1],
        ..EventLogParts::default()
    })
    .unwrap();
    let values: Vec<u8> = [1i64, big as i64, 0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let path = folder.write("candidates.npy", npy("<i8", 1, 3, &values));
    let lists = read_candidates(&path, &log).unwrap();
    assert_eq!(lists, [(1, vec![big as u32, 0])]);

    let path = folder.write("wide.npy", npy("<f4", 1, 3, &values[..12]));
    assert!(error(&path, &log).contains("integers expected"));
    let path = folder.write("narrow.npy", npy("<i8", 3, 1, &values));
    assert!(error(&path, &log).contains("1 columns found, at least 2"));
    let path = folder.write(
        "negative.npy",
        npy("<i4", 1, 2, &[0, 0, 0, 0, 255, 255, 255, 255]),
    );
    assert!(error(&path, &log).contains("row 0: the negative number -1 found"));
}

/// The recorded pickles name nodes as TGB does: items follow the users.
#[test]
fn tgbs_pickles_are_read_in_tgbs_numbering() {
    let folder = Folder::new();
    let log = folder.jodie();
    let recorded = Path::new("tests/candidates");
    for protocol in [4, 5] {
        let path = recorded.join(format!("jodie_ns_{protocol}.pkl"));
        assert_eq!(read_candidates(&path, &log).unwrap(), expected());
    }
    let error = error(&recorded.join("other_stream_ns.pkl"), &log);
    assert!(
        error.contains("the event (7, 7, 7), which the stream jodie does not have"),
        "{error}"
    );
    assert!(error.contains("1 of the file's 2 events"), "{error}");
}

#[test]
fn a_pickle_that_would_run_something_is_refused() {
    let folder = Folder::new();
    let log = folder.jodie();
    let path = folder.write("bad.pkl", b"\x80\x04cos\nsystem\n(X\x02\0\0\0lstR.");
    let error = error(&path, &log);
    assert!(error.contains("a call of `os system` was found"), "{error}");
    assert!(error.contains("none is run"), "{error}");
}

#[test]
fn an_archive_of_tgb_holds_a_stream_and_its_candidates() {
    let folder = Folder::new();
    let pickle = include_bytes!("candidates/jodie_ns_4.pkl");
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [
        ("tgbl_wiki/tgbl-wiki_edgelist_v2.csv", JODIE.as_bytes()),
        ("tgbl_wiki/tgbl-wiki_test_ns_v2.pkl", pickle),
    ] {
        archive
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        archive.write_all(content).unwrap();
    }
    let data = folder.0.path().join("data");
    fs::create_dir_all(data.join("tgbl-wiki")).unwrap();
    let path = data.join("tgbl-wiki/tgbl-wiki-v2.zip");
    let options = OpenOptions {
        cache_dir: Some(folder.0.path().join("cache")),
        data_dir: Some(data),
        ..OpenOptions::default()
    };
    assert_eq!(recorded_candidates("tgbl-wiki", &options).unwrap(), None);
    fs::write(&path, archive.finish().unwrap().into_inner()).unwrap();
    let log = EventLog::open("tgbl-wiki", &options).unwrap();
    assert_eq!(log.hash(), folder.jodie().hash());
    assert!(
        log.notes()[0].contains("tgbl-wiki_edgelist_v2.csv was read"),
        "{:?}",
        log.notes()
    );
    let recorded = recorded_candidates("tgbl-wiki", &options).unwrap();
    assert_eq!(recorded.as_deref(), Some(&*path));
    assert_eq!(read_candidates(&path, &log).unwrap(), expected());
    assert_eq!(recorded_candidates("wikipedia", &options).unwrap(), None);
}

/// Six events of TGB-Seq's layout, of which the last two are test.
#[test]
fn candidates_of_tgb_seq_are_of_test_events_in_turn() {
    let folder = Folder::new();
    let path = folder.write(
        "Tiny.csv",
        "src,dst,time,split\n1,7,0,0\n2,8,1,0\n1,8,2,0\n2,7,3,1\n1,9,4,2\n2,9,5,2\n",
    );
    let options = OpenOptions {
        cache_dir: Some(folder.0.path().join("cache")),
        ..OpenOptions::default()
    };
    let log = EventLog::open(path.to_str().unwrap(), &options).unwrap();
    let by_format = OpenOptions {
        format: Some("tgb-seq".parse().unwrap()),
        ..options.clone()
    };
    let same = EventLog::open(path.to_str().unwrap(), &by_format).unwrap();
    assert_eq!(same.hash(), log.hash());
    assert_eq!(
        (log.split().test, log.edge_features().is_none()),
        (4..6, true)
    );
    let array = |rows: usize, values: &[i64]| {
        let header =
            format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({rows}, 2), }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        values
            .iter()
            .for_each(|value| file.extend(value.to_le_bytes()));
        file
    };
    for name in ["Tiny_test_ns.npy", "Tiny_test_ns_v2.npy"] {
        let path = folder.write(name, array(2, &[7, 8, 8, 7]));
        assert_eq!(
            read_candidates(&path, &log).unwrap(),
            [(4, vec![2, 3]), (5, vec![3, 2])]
        );
    }
    let path = folder.write("Tiny_test_ns.npy", array(1, &[7, 8]));
    assert!(
        error(&path, &log)
            .contains("1 rows of 2 found, 2 expected, one for each test event in turn")
    );
    let path = folder.write("Tiny_test_ns.npy", array(2, &[7, 8, 8, 70]));
    assert!(
        error(&path, &log).contains(
            "row of event 5: candidate 70, which is not a destination of the stream found"
        )
    );
}

#[test]
fn ids_that_are_text_are_listed_as_they_are_written() {
    let folder = Folder::new();
    let stream = folder.write(
        "payments.csv",
        "src,dst,time\nann,shop 7,0\nbob,kiosk,1\nann,shop 8,2\ncy,kiosk,3\n",
    );
    let options = OpenOptions {
        cache_dir: Some(folder.0.path().join("cache")),
        ..OpenOptions::default()
    };
    let log = EventLog::open(stream.to_str().unwrap(), &options).unwrap();
    let names = log.names().unwrap().nodes.unwrap();
    let path = folder.write(
        "lists.csv",
        "event,candidates\n2,shop 7,kiosk\n3,\tshop 8\n",
    );
    let lists = read_candidates(&path, &log).unwrap();
    let named: Vec<(usize, Vec<&str>)> = (lists.iter())
        .map(|(event, nodes)| {
            let nodes = nodes.iter().map(|&node| names[node as usize].as_str());
            (*event, nodes.collect())
        })
        .collect();
    assert_eq!(named, [(2, vec!["shop 7", "kiosk"]), (3, vec!["shop 8"])]);
    let path = folder.write("lists.csv", "2,shop 7,shop 9\n");
    let said = ":1: candidate `shop 9`, which is not a destination of the stream";
    assert!(error(&path, &log).contains(said), "{}", error(&path, &log));
}
