//! Tests of the built-in manifests and of what a manifest may say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use super::{Manifest, Measured};

const SMALL: &str = r#"
    name = "small"
    title = "t"
    format = "snap"
    split = "s"
    licence = "none stated"
    known_defects = []
    files = [{ url = "http://h/a.txt", file = "a.txt", size = 3, sha256 = "unknown" }]
    citation = { paper = "p", venue = "v", year = 2000 }
    [statistics]
    events = { value = 3, source = "s", verified = true }
    nodes = { value = 2, source = "paper", verified = false }
    sources = { value = "unknown", source = "s", verified = false }
    destinations = { value = "unknown", source = "s", verified = false }
    edge_feature_width = { value = 0, source = "s", verified = false }
    node_feature_width = { value = 0, source = "s", verified = false }
    positive_labels = { value = "unknown", source = "s", verified = false }
    first_time = { value = 0, source = "s", verified = false }
    last_time = { value = 9, source = "s", verified = false }
"#;

fn refusal(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from:?} is not in the manifest");
    Manifest::parse(&SMALL.replacen(from, to, 1), "small.toml")
        .unwrap_err()
        .to_string()
}

#[test]
fn built_in_manifests_are_valid_and_found_by_name() {
    let names: Vec<_> = Manifest::all()
        .iter()
        .map(|manifest| manifest.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "wikipedia",
            "reddit",
            "mooc",
            "lastfm",
            "gdelt",
            "collegemsg",
            "tgbl-wiki",
            "tgbl-wiki-v1",
            "tgbl-review",
            "tgbl-review-v1",
            "tgbl-coin",
            "tgbl-coin-v1",
            "tgbl-comment",
            "tgbl-flight"
        ]
    );
    assert_eq!(
        Manifest::find("Wikipedia").unwrap().files[0].url,
        "http://snap.stanford.edu/jodie/wikipedia.csv"
    );
    assert!(Manifest::find("wiki").is_none());
    for manifest in Manifest::all() {
        assert!(
            manifest.files.iter().all(|file| file.sha256.is_none()),
            "a new checksum needs its source"
        );
    }
}

#[test]
fn files_lie_below_the_data_folder() {
    let path = |name| Manifest::find(name).unwrap().local_file(Path::new("data"));
    assert_eq!(
        path("wikipedia"),
        Path::new("data").join("wikipedia").join("wikipedia.csv")
    );
    assert_eq!(
        path("collegemsg"),
        Path::new("data").join("collegemsg").join("CollegeMsg.txt")
    );
    let gdelt = Manifest::find("gdelt")
        .unwrap()
        .local_files(Path::new("data"));
    assert_eq!(gdelt.len(), 4);
    assert_eq!(gdelt[0], Path::new("data").join("gdelt").join("edges.csv"));
}

#[test]
fn unknown_survives_json_and_toml() {
    for manifest in Manifest::all() {
        let json = serde_json::to_string(manifest).unwrap();
        assert_eq!(&serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
        assert_eq!(
            &Manifest::parse(&toml::to_string(manifest).unwrap(), "again").unwrap(),
            manifest
        );
        assert!(json.contains(r#""sha256":"unknown""#), "{json}");
    }
}

#[test]
fn verify_names_only_figures_that_differ() {
    let manifest = Manifest::parse(SMALL, "small.toml").unwrap();
    assert_eq!(manifest.verify(&Measured::default()), []);
    let measured = Measured {
        events: Some(3),
        nodes: Some(5),
        sources: Some(1),
        ..Measured::default()
    };
    let found = manifest.verify(&measured);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "nodes: found 5, expected 2 (published, not counted by us: paper)"
    );
}

#[test]
fn nonsense_is_refused_with_the_field() {
    assert_eq!(
        refusal("\"http://h/a.txt\"", "\"ftp://h/a.txt\""),
        "small.toml: url is \"ftp://h/a.txt\"; expected an address that starts with http:// or https://; \
         correct it in the manifest"
    );
    assert!(refusal("\"a.txt\"", "\"../a.txt\"").contains("file is \"../a.txt\""));
    assert!(refusal("\"small\"", "\"a/b\"").contains("name is \"a/b\""));
    assert!(refusal("\"snap\"", "\"excel\"").contains("expected jodie, snap, tgl or tgb"));
    assert!(refusal("sha256 = \"unknown\"", "sha256 = \"abc\"").contains("64 lower-case"));
    assert!(refusal("size = 3", "size = \"3 MB\"").contains("expected a number or \"unknown\""));
    assert!(refusal("title = ", "titel = ").contains("titel"));
    assert!(refusal("value = 3, ", "").contains("missing field `value`"));
}
