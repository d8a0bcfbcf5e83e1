//! Round trips and damage: what is written is read back, and no bytes make a reader panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use mspipe_datasets::{EventLog, Format, OpenOptions, import};
use proptest::prelude::*;

fn options(folder: &Path) -> OpenOptions {
    OpenOptions {
        cache_dir: Some(folder.join("cache")),
        ..OpenOptions::default()
    }
}

/// Writes a file and opens it.
fn read(content: &[u8], format: Option<Format>) -> Result<EventLog, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(&path, content).unwrap();
    let options = OpenOptions {
        format,
        ..options(folder.path())
    };
    EventLog::open(path.to_str().unwrap(), &options).map_err(|e| e.to_string())
}

fn format() -> impl Strategy<Value = Option<Format>> {
    let formats = Format::ALL.into_iter().map(Some);
    prop::sample::select(formats.chain([None]).collect::<Vec<_>>())
}

/// Text that comes close to an event file, so that damage is found beyond the first line too.
fn near_miss() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "user_id,item_id,timestamp,state_label,f\n",
        ",src,dst,time,ext_roll\n",
        ",u,i,ts,label,idx\n",
        "time,src,dst,w\n",
        "2019-01-01,a,b,",
        "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t",
        "20180326044500",
        "PAR1",
        "PK\u{3}\u{4}",
        "0,1,2.0,0,1.5\n",
        "1 2 3\n",
        "7,8,9.5,1,",
        "\n",
        "\r\n",
        ",",
        " ",
        "#",
        "1e9",
        "-",
        ".",
        "nan",
        "0",
        "18446744073709551615",
        "\u{feff}",
        "\t",
        "x",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn jodie_round_trip(
        events in prop::collection::vec((0u64..50, 0u64..50, 0i64..5_000, -1i32..2, prop::array::uniform2(-1e6f32..1e6)), 1..60),
        decimals in 0usize..4,
    ) {
        let mut events = events;
        events.sort_by_key(|e| e.2);
        let mut text = String::from("user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n");
        let power = 10i64.pow(decimals as u32);
        for (user, item, time, label, [a, b]) in &events {
            write!(text, "{user},{item},{}", time / power).unwrap();
            if decimals > 0 {
                write!(text, ".{:0decimals$}", time % power).unwrap();
            }
            writeln!(text, ",{label},{a},{b}").unwrap();
        }
        let log = read(text.as_bytes(), None).unwrap();
        let originals = log.original_ids().unwrap();
        // Ticks may be coarser than the decimals written, never finer.
        let factor = power / log.ticks_per_unit();
        for (i, (user, item, time, label, features)) in events.iter().enumerate() {
            prop_assert_eq!(originals[log.src()[i] as usize], *user);
            prop_assert_eq!(originals[log.dst()[i] as usize], *item);
            prop_assert!(log.src()[i] < log.dst()[i]);
            prop_assert_eq!(log.time()[i] * factor, *time);
            prop_assert_eq!(log.labels().unwrap()[i], *label);
            let mut row = [0.0; 2];
            log.edge_features().unwrap().gather_into(&[i as u32], &mut row);
            prop_assert_eq!(&row, features);
        }
    }

    #[test]
    fn tgb_round_trip(
        events in prop::collection::vec((0u8..20, 0u8..20, -1_000i64..1_000, prop::array::uniform2(-1e6f32..1e6)), 1..60),
    ) {
        let mut events = events;
        events.sort_by_key(|e| e.2);
        let mut text = String::from("time,src,dst,w,x\n");
        for (src, dst, time, [a, b]) in &events {
            writeln!(text, "{time},n{src},n{dst},{a},{b}").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        fs::write(&path, text).unwrap();
        let log = EventLog::open(path.to_str().unwrap(), &options(folder.path())).unwrap();
        let names = log.names().unwrap().nodes.unwrap();
        for (i, (src, dst, time, features)) in events.iter().enumerate() {
            prop_assert_eq!(&names[log.src()[i] as usize], &format!("n{src}"));
            prop_assert_eq!(&names[log.dst()[i] as usize], &format!("n{dst}"));
            prop_assert_eq!(log.time()[i], *time);
            let mut row = [0.0; 2];
            log.edge_features().unwrap().gather_into(&[i as u32], &mut row);
            prop_assert_eq!(&row, features);
        }
    }

    #[test]
    fn sorting_equals_a_stable_sort(times in prop::collection::vec(0i64..20, 1..50)) {
        // The destination tells events of equal time apart.
        let text: String = times.iter().enumerate().map(|(i, t)| format!("0 {} {t}\n", i + 1)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        fs::write(&path, text).unwrap();
        let sorted = OpenOptions { sort: true, ..options(folder.path()) };
        let log = EventLog::open(path.to_str().unwrap(), &sorted).unwrap();
        let mut expected: Vec<(i64, u32)> = times.iter().enumerate().map(|(i, &t)| (t, i as u32 + 1)).collect();
        expected.sort_by_key(|e| e.0);
        let found: Vec<(i64, u32)> = log.time().iter().copied().zip(log.dst().iter().copied()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_panic(content in prop::collection::vec(any::<u8>(), 0..200), format in format()) {
        let _ = read(&content, format);
    }

    #[test]
    fn no_near_miss_panics(content in near_miss(), format in format()) {
        let _ = read(&content, format);
    }

    #[test]
    fn no_damaged_store_panics(file in 0usize..8, cut in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("events");
        fs::write(&text, "user_id,item_id,timestamp,state_label,f\n0,0,1.5,0,1,2\n1,0,2,1,3,4\n1,1,2,0,5,6\n").unwrap();
        let store = folder.path().join("s.mspipe");
        import(text.to_str().unwrap(), &options(folder.path()), &store).unwrap();
        let mut files: Vec<_> = fs::read_dir(&store).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let path = &files[file % files.len()];
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(path, &bytes).unwrap();
        match EventLog::open(store.to_str().unwrap(), &options(folder.path())) {
            Ok(log) => {
                prop_assert!(!cut, "a truncated {} went unnoticed", path.display());
                // Whatever the flipped bit says, using the log must be safe.
                let mut row = vec![0.0; log.edge_features().map_or(0, |f| f.width())];
                if let Some(table) = log.edge_features() {
                    table.gather_into(&[2], &mut row);
                }
                prop_assert!(log.src().iter().chain(log.dst()).all(|&id| (id as usize) < log.nodes()));
                prop_assert_eq!(log.split().test.end, 3);
            }
            Err(error) => prop_assert!(error.to_string().contains("import the stream again") || !cut, "{}", error),
        }
    }
}
