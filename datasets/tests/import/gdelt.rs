//! Raw GDELT 2.0 event files, drawn by hand.

use mspipe_datasets::{FeatureType, IdSpaces, OpenOptions};

use super::bench::{Bench, gz, stored};

/// A row: codes of the two actors with (country, type), event code, DATEADDED.
fn row(first: (&str, &str, &str), second: (&str, &str, &str), event: &str, added: &str) -> String {
    let mut fields = vec![""; 61];
    fields[0] = "741917022";
    for (at, (code, country, kind)) in [(5, first), (15, second)] {
        fields[at] = code;
        fields[at + 2] = country;
        fields[at + 7] = kind;
    }
    fields[26] = event;
    fields[27] = event;
    fields[28] = &event[..2];
    fields[59] = added;
    fields[60] = "http://example.org/";
    fields.join("\t") + "\n"
}

const NOBODY: (&str, &str, &str) = ("", "", "");
const USA_GOV: (&str, &str, &str) = ("USAGOV", "USA", "GOV");
const FRA: (&str, &str, &str) = ("FRA", "FRA", "");
const T1: &str = "20180326044500";
const T2: &str = "20180326050000";

/// Two files: three events; four rows lack an actor.
pub(super) fn files() -> [String; 2] {
    [
        row(USA_GOV, FRA, "071", T1) + &row(FRA, NOBODY, "010", T1) + &row(NOBODY, FRA, "190", T1),
        row(FRA, ("USAGOV", "USA", "MIL"), "010", T2)
            + &row(NOBODY, NOBODY, "010", T2)
            + &row(NOBODY, FRA, "010", T2)
            + &row(FRA, FRA, "07", T2),
    ]
}

#[test]
fn a_folder_of_files_in_any_packing() {
    let [one, two] = files();
    let (name1, name2) = (format!("{T1}.export.CSV"), format!("{T2}.export.CSV"));
    let bench = Bench::new(&[
        // The second file comes first in the folder's order of endings, not in time.
        (&format!("d/{name2}"), two.as_bytes()),
        (
            &format!("d/{name1}.zip"),
            &stored(&[(&name1, one.as_bytes())]),
        ),
        ("d/masterfilelist.txt", b"not an event file"),
        (
            "all.zip",
            &stored(&[(&name2, two.as_bytes()), (&name1, one.as_bytes())]),
        ),
        (&format!("g/{name1}.gz"), &gz(one.as_bytes())),
        (&format!("g/{name2}.gz"), &gz(two.as_bytes())),
    ]);
    let log = bench.open("d");
    assert_eq!(
        (log.events(), log.nodes(), log.id_spaces()),
        (3, 2, IdSpaces::One)
    );
    assert_eq!((log.src(), log.dst()), (&[0, 1, 1][..], &[1, 0, 1][..]));
    assert_eq!(log.time(), &[1_522_039_500, 1_522_040_400, 1_522_040_400]);

    let names = log.names().unwrap();
    assert_eq!(names.nodes.unwrap(), ["USAGOV", "FRA"]);
    assert_eq!(
        names.edge_features.unwrap(),
        ["event:01", "event:010", "event:07", "event:071"]
    );
    assert_eq!(
        names.node_features.unwrap(),
        ["country:FRA", "country:USA", "type:GOV", "type:MIL"]
    );
    let (edge, node) = (log.edge_features().unwrap(), log.node_features().unwrap());
    assert_eq!(
        (edge.feature_type(), node.feature_type()),
        (FeatureType::Bits, FeatureType::Bits)
    );
    // Codes that only dropped rows have (19, 190) are no columns; an actor has all that it is ever given.
    assert_eq!(edge.as_bytes(), [0b1100, 0b0011, 0b0100]);
    assert_eq!(node.as_bytes(), [0b1110, 0b0001]);

    assert_eq!(
        bench.notes("d"),
        [
            "7 rows of 2 GDELT files read, 4 dropped because an interaction needs two actors: \
          2 have no first actor (Actor1Code is empty), 1 no second (Actor2Code), 1 neither"
        ]
    );
    for other in ["all.zip", "g"] {
        assert_eq!(bench.open(other).hash(), log.hash(), "{other}");
    }
}

#[test]
fn sorted_features_follow() {
    let [one, two] = files();
    let bench = Bench::new(&[
        ("d/a.export.CSV", two.as_bytes()),
        ("d/b.export.csv", one.as_bytes()),
    ]);
    let earlier = std::path::Path::new("d").join("a.export.CSV");
    let message = bench.refusal("d");
    assert!(
        message.contains("b.export.csv:1: time 1522039500 precedes 1522040400 (")
            && message.contains(&format!("{}, line 4)", earlier.display())),
        "{message}"
    );
    let (log, notes) = bench.sorted("d");
    assert_eq!(
        log.edge_features().unwrap().as_bytes(),
        [0b1100, 0b0011, 0b0100]
    );
    let names = log.names().unwrap().nodes.unwrap();
    assert_eq!(
        (names[log.src()[0] as usize].as_str(), notes.len()),
        ("USAGOV", 2)
    );
}

#[test]
fn refusals() {
    let good = row(USA_GOV, FRA, "071", T1);
    let (short, soon) = (good.replacen('\t', " ", 1), good.replace(T1, "soon"));
    let old = good.splitn(4, '\t').last().unwrap().to_owned();
    let alone = row(USA_GOV, NOBODY, "071", T1);
    let bench = Bench::new(&[
        ("short.CSV", (good.clone() + &short).as_bytes()),
        ("time.CSV", (good.clone() + &soon).as_bytes()),
        ("old.CSV", old.as_bytes()),
        ("old.export.CSV", old.as_bytes()),
        ("alone.CSV", alone.as_bytes()),
        (
            "cut.CSV",
            &(good.clone() + &good).as_bytes()[..good.len() * 2 - 25],
        ),
        ("d/x.export.CSV", good.as_bytes()),
        ("d/x.export.CSV.gz", &gz(good.as_bytes())),
        ("ok.CSV", good.as_bytes()),
    ]);
    for (file, words) in [
        (
            "short.CSV",
            "short.CSV:2: 60 tab-separated fields; expected 61, as GDELT 2.0 event files have; a cut-off line",
        ),
        (
            "time.CSV",
            "time.CSV:2: DATEADDED (column 60) is `soon`; expected YYYYMMDDHHMMSS",
        ),
        (
            "old.CSV",
            "58 fields separated by tabs, as GDELT 1.0 has; GDELT 2.0 event files have 61",
        ),
        ("alone.CSV", "it holds no events"),
        ("cut.CSV", "cut.CSV:2: 60 tab-separated fields; expected 61"),
        (
            "d",
            "are the same file; remove one of them, or its events would count twice",
        ),
    ] {
        let message = bench.refusal(file);
        assert!(message.contains(words), "{file}: {message}");
    }
    let options = OpenOptions {
        edge_features: Some(bench.path("ok.CSV")),
        ..bench.options()
    };
    let message = bench.refusal_with("ok.CSV", options);
    assert!(
        message.contains("--edge-feature-file: raw GDELT files bring their own features"),
        "{message}"
    );
}
