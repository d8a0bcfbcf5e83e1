//! Packed texts, read directly.

use super::bench::{Bench, bz2, deflated, gz, stored, xz, zst};

const SNAP: &[u8] = b"5 70 10\n70 5 12\n2 5 12\n";

#[test]
fn every_text_format_packed_is_the_same_stream() {
    let texts: [(&str, &[u8]); 5] = [
        ("a.txt", SNAP),
        ("j.csv", super::JODIE),
        ("t.csv", b",src,dst,time,ext_roll\n0,0,1,1,0\n1,1,0,2,1\n"),
        ("d.csv", b",u,i,ts,label,idx\n0,1,2,0.5,0,1\n"),
        ("b.csv", b"time,src,dst,w\n1,a,b,2\n"),
    ];
    for (name, text) in texts {
        let bench = Bench::new(&[
            (name, text),
            ("x.gz", &gz(text)),
            ("members.gz", &[gz(&text[..9]), gz(&text[9..])].concat()),
            (
                "x.zip",
                &deflated(&[("folder/x", text), ("__MACOSX/._x", b"shadow")]),
            ),
            ("stored.zip", &stored(&[("x", text)])),
            ("x.bz2", &bz2(text)),
            ("members.bz2", &[bz2(&text[..9]), bz2(&text[9..])].concat()),
            ("x.xz", &xz(text)),
            ("members.xz", &[xz(&text[..9]), xz(&text[9..])].concat()),
            ("x.zst", &zst(text)),
            ("frames.zst", &[zst(&text[..9]), zst(&text[9..])].concat()),
        ]);
        let hash = bench.open(name).hash().to_owned();
        for packed in [
            "x.gz",
            "members.gz",
            "x.zip",
            "stored.zip",
            "x.bz2",
            "members.bz2",
            "x.xz",
            "members.xz",
            "x.zst",
            "frames.zst",
        ] {
            assert_eq!(bench.open(packed).hash(), hash, "{name} as {packed}");
        }
    }
    let tgl = Bench::new(&[
        ("W/edges.csv.gz", &gz(b",src,dst,time\n0,0,1,1\n1,1,0,2\n")),
        (
            "W/labels.csv.zip",
            &deflated(&[("labels.csv", b",node,time,label\n0,0,1,7\n1,1,2,0\n")]),
        ),
    ]);
    assert_eq!(tgl.open("W").labels(), Some(&[7, 0][..]));
}

#[test]
fn of_an_archive_of_several_files_the_table_is_read_and_said() {
    let bench = Bench::new(&[
        (
            "tgb.zip",
            &deflated(&[
                (
                    "tgbl_wiki/tgbl-wiki_edgelist_v2.csv",
                    b"time,src,dst\n1,2,3\n",
                ),
                ("tgbl_wiki/tgbl-wiki_val_ns_v2.pkl", b"\x80\x04."),
                ("tgbl_wiki/tgbl-wiki_node_labels.csv", b"x"),
            ]),
        ),
        (
            "readme.zip",
            &stored(&[
                ("README.txt", b"x"),
                ("events.txt", SNAP),
                ("map.json", b"{}"),
            ]),
        ),
    ]);
    assert_eq!(
        bench.open("tgb.zip").notes()[0],
        "of the archive's 3 files tgbl-wiki_edgelist_v2.csv was read (beside it: tgbl-wiki_node_labels.csv, tgbl-wiki_val_ns_v2.pkl)"
    );
    let log = bench.open("readme.zip");
    assert_eq!(log.events(), 3);
    assert!(
        log.notes()[0].contains("events.txt was read"),
        "{:?}",
        log.notes()
    );
}

#[test]
fn lines_inside_archives_are_named() {
    let bench = Bench::new(&[
        ("a.zip", &deflated(&[("in/e.txt", b"1 2 3\n1 2\n")])),
        ("a.gz", &gz(b"1 2 3\n1 4\n")),
    ]);
    let shown = std::path::Path::new("a.zip").join("in/e.txt");
    assert_eq!(
        bench.refusal("a.zip"),
        format!(
            "{}:2: 2 fields; expected 3, as in the first event; a cut-off line means that the file is incomplete, and fields that hold separators need quotes",
            shown.display()
        )
    );
    assert!(
        bench
            .refusal("a.gz")
            .starts_with("a.gz:2: 2 fields; expected 3")
    );
}

/// With another byte, so many before the end.
fn flip(mut bytes: Vec<u8>, before_the_end: usize) -> Vec<u8> {
    let at = bytes.len() - before_the_end;
    bytes[at] ^= 1;
    bytes
}

#[test]
fn damaged_archives() {
    let text: Vec<u8> = (0..5000)
        .flat_map(|i| format!("{} {} {i}\n", i % 7, i % 11).into_bytes())
        .collect();
    let whole = gz(&text);
    let cut = &whole[..whole.len() / 2];
    let flipped = flip(whole.clone(), 6);
    let mut zipped = stored(&[("e.txt", &text)]);
    let at = zipped
        .windows(6)
        .position(|w| w == b"6 3 3\n")
        .unwrap_or(200);
    zipped[at] = b'5';
    // The flag of encryption in the central directory.
    let mut locked = stored(&[("e.txt", SNAP)]);
    let at = locked.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    locked[at + 8] |= 1;
    let bench = Bench::new(&[
        ("locked.zip", &locked),
        ("cut.gz", cut),
        ("crc.gz", &flipped),
        ("head.gz", &whole[..12]),
        ("crc.zip", &zipped),
        ("cut.zip", &zipped[..zipped.len() - 30]),
        ("two.zip", &stored(&[("a.txt", SNAP), ("b.txt", SNAP)])),
        ("none.zip", &stored(&[])),
        ("twice.gz", &gz(&gz(SNAP))),
        ("web.gz", &gz(b"<html>")),
        ("feature.npz", &stored(&[("a.npy", b"")])),
    ]);
    for (file, words) in [
        (
            "cut.gz",
            "cut.gz: the compressed data are damaged or cut off after line ",
        ),
        (
            "crc.gz",
            "crc.gz: the compressed data are damaged or cut off after line 5000 (corrupt gzip stream",
        ),
        ("head.gz", "damaged or cut off at their beginning"),
        ("crc.zip", "(its CRC-32 is "),
        ("cut.zip", "cut.zip: a zip archive that cannot be read ("),
        (
            "locked.zip",
            "e.txt: encrypted; unpack the archive with its password first",
        ),
        (
            "two.zip",
            "two.zip: a zip archive of 2 files (a.txt, b.txt); one event file is expected",
        ),
        ("none.zip", "a zip archive of 0 files"),
        ("twice.gz", "compressed twice; decompress it once"),
        ("web.gz", "a web page or XML"),
        (
            "feature.npz",
            "arrays (.npz or PyTorch's .pt), not events; give the event file, and this one with --edge-feature-file",
        ),
    ] {
        let message = bench.refusal(file);
        assert!(message.contains(words), "{file}: {message}");
    }
}

#[test]
fn damage_of_every_compression_is_found() {
    let text: Vec<u8> = (0..5000)
        .flat_map(|i| format!("{} {} {i}\n", i % 7, i % 11).into_bytes())
        .collect();
    let bench = Bench::new(&[
        ("cut.bz2", &bz2(&text)[..1_000]),
        ("cut.xz", &xz(&text)[..1_000]),
        ("cut.zst", &zst(&text)[..1_000]),
        ("sum.xz", &flip(xz(&text), 40)),
        ("sum.bz2", &flip(bz2(&text), 5)),
        ("twice.zst", &zst(&xz(SNAP))),
    ]);
    for (file, words) in [
        (
            "cut.bz2",
            "cut.bz2: the compressed data are damaged or cut off ",
        ),
        (
            "cut.xz",
            "cut.xz: the compressed data are damaged or cut off ",
        ),
        (
            "cut.zst",
            "cut.zst: the compressed data are damaged or cut off ",
        ),
        (
            "sum.xz",
            "sum.xz: the compressed data are damaged or cut off ",
        ),
        (
            "sum.bz2",
            "sum.bz2: the compressed data are damaged or cut off ",
        ),
        ("twice.zst", "compressed twice; decompress it once"),
    ] {
        let message = bench.refusal(file);
        assert!(message.contains(words), "{file}: {message}");
    }
}
