//! Small files that become large.

use mspipe_datasets::OpenOptions;

use super::bench::{Bench, bz2, deflated, gz, stored, xz, zst};

#[test]
fn a_text_that_unpacks_to_much_more_than_it_is_is_refused_unless_allowed() {
    // More than the harmless size, of one comment that is repeated, and an end that is reached if allowed.
    let line = format!("# {}\n", "a".repeat(1021));
    let lines = (1 << 26) / line.len() + 10;
    let text = format!("1 2 3\n{}the end\n", line.repeat(lines)).into_bytes();
    let bench = Bench::new(&[
        ("a.gz", &gz(&text)),
        ("a.zip", &deflated(&[("x", &text)])),
        ("a.bz2", &bz2(&text)),
        ("a.xz", &xz(&text)),
        ("a.zst", &zst(&text)),
    ]);
    for name in ["a.gz", "a.zip", "a.bz2", "a.xz", "a.zst"] {
        let refusal = |ratio: u64| {
            let options = OpenOptions {
                unpack_ratio: Some(ratio),
                ..bench.options()
            };
            bench.refusal_with(name, options)
        };
        let message = refusal(100);
        let found = "the text unpacks to more than 100 times its packed size";
        assert!(message.contains(found), "{message}");
        assert!(
            message.contains("`mspipe data import --unpack-ratio 1000`"),
            "{message}"
        );
        let allowed = refusal(1 << 20);
        assert!(
            allowed.contains(&format!(":{}: 2 fields", lines + 2)),
            "{allowed}"
        );
    }
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut archive = stored(&[("a.export.CSV", b"one"), ("b.export.CSV", b"two")]);
    // The second entry of the list points at the first one's place.
    let lists: Vec<usize> = (0..archive.len() - 4)
        .filter(|&at| archive[at..].starts_with(b"PK\x01\x02"))
        .collect();
    let offset = lists[1] + 42;
    archive[offset..offset + 4].fill(0);
    let bench = Bench::new(&[("a.zip", &archive)]);
    let message = bench.refusal("a.zip");
    assert!(
        message.contains("a.export.CSV and b.export.CSV share bytes"),
        "{message}"
    );
}

#[test]
fn a_node_s_name_has_a_longest() {
    let text = format!("time,src,dst,w\n1,a,b,1\n2,{},b,1\n", "x".repeat(5000));
    let bench = Bench::new(&[("a.csv", text.as_bytes())]);
    let message = bench.refusal("a.csv");
    assert!(
        message.starts_with("a.csv:3: a name of 5000 bytes for a node; expected at most 4096"),
        "{message}"
    );
}

#[test]
fn codes_of_gdelt_have_a_most() {
    let row = |code: usize| {
        let mut fields = vec![String::new(); 61];
        (fields[5], fields[15]) = ("USA".to_owned(), "FRA".to_owned());
        (fields[26], fields[59]) = (code.to_string(), "20180326044500".to_owned());
        fields.join("\t") + "\n"
    };
    let text: String = (0..20_000).map(row).collect();
    let bench = Bench::new(&[("a.export.CSV", text.as_bytes())]);
    let message = bench.refusal("a.export.CSV");
    assert!(
        message.starts_with("a.export.CSV:16385: `16384` is code number 16385"),
        "{message}"
    );
}
