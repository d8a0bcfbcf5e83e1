//! The seed corpus: one small sound file of every kind, and some that are nearly sound.
//!
//! Made here rather than kept, so that each can be read. `cargo run --bin seeds` writes them for
//! the fuzzer; the gate's test mutates them as they are.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use zip::CompressionMethod;

use super::readers::{SEPARATOR, zip};

const JODIE: &[u8] = b"user_id,item_id,timestamp,state_label,f\n0,0,0.5,0,1,-2e3\n1,0,2.25,1,3,4\n";
const SNAP: &[u8] = b"# a comment\n9 14 1082040961\n14\t9  1082155839\r\n";
const TGL: &[u8] =
    b",src,dst,time,int_roll,ext_roll\n0,0,1,0.0,0,0\n1,1,2,3.0,0,1\n2,0,2,3.0,0,2\n";
const DGB: &[u8] = b",u,i,ts,label,idx\n0,1,2,0.0,0,1\n1,2,3,1.0,1,2\n";
const TGB: &[u8] = b"day,src,dst,weight,callsign\n2019-01-01,YMML,LFPG,0.5,HVN19\n2019-01-02 10:00:01,LFPG,YMML,1,X\n";

/// The seeds of the target called `name`.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    match name {
        "events" => events(),
        "schema" => schemas(),
        "packed" => packed(),
        "folder" => folders(),
        "array" => arrays(),
        "archive" => (0..2)
            .flat_map(|choice| {
                npys()
                    .into_iter()
                    .map(move |npy| [vec![choice], npy].concat())
            })
            .collect(),
        "pickle" => pickles(),
        "candidates" => candidates(),
        "parquet" => parquets(),
        "store" => stores(),
        _ => Vec::new(),
    }
}

fn events() -> Vec<Vec<u8>> {
    // As `events` reads its first byte: the format's place in `Format::ALL`, then `--sort`.
    let forced = [JODIE, SNAP, TGL, DGB, TGB, b"PAR1", &gdelt()].map(<[u8]>::to_vec);
    let mut seeds: Vec<Vec<u8>> = (0u8..)
        .zip(&forced)
        .map(|(format, text)| [&[2 * format], &text[..]].concat())
        .collect();
    seeds.extend(forced.iter().map(|text| [&[0xff], &text[..]].concat()));
    seeds.push([&[0xfe][..], b"src,dst,time\n1,2,9\n3,4,8.123456789\n"].concat());
    seeds
}

fn schemas() -> Vec<Vec<u8>> {
    let table: &[u8] = b"when,amount,payer,payee,fraud\n2021-11-01T00:00:21.5Z,0.5,007,a,0\n2021-11-01 01:00:22+01:00,,7,\"b, c\",1\n";
    [
        (0u8, "src=payer,dst=payee,time=when,label=fraud", table),
        (0b0100_1010, "src=3,dst=4,time=1,features=amount", table),
        (0, "", b"\"\",\"source\",\"target\",\"time\",\"split\"\n\"1\",\"u 2\",\"i3\",21,train\n\"2\",\"u1\",\"i1\",56,test\n"),
        (0, "", b"source;target;time;w\n2;103;21;0,36\n1;101;56,5;4,55\n"),
        (0, "", b"% bip weighted\n3 4 0.36 1082040982\n2 2 4.55 1082041017\n"),
        (0b0001_0100, "", b"user\titem\tts\tf2\tf10\n1\t1\t1635724821000\tNA\ttrue\n2\t1\t1635724821250\t2\tFalse\n"),
        (0xff, "", b"1,2,3,4\n2,1,4,5\n"),
    ]
    .map(|(choice, columns, text)| [&[choice], columns.as_bytes(), b"\n", text].concat())
    .to_vec()
}

/// Two rows of GDELT 2.0, the second without a second actor.
fn gdelt() -> Vec<u8> {
    let mut text = Vec::new();
    for (first, second) in [("USAGOV", "CHN"), ("FRA", "")] {
        let mut fields = [""; 61];
        fields[0] = "745000000";
        (fields[5], fields[7], fields[12]) = (first, "USA", "GOV");
        (fields[15], fields[17]) = (second, second);
        (fields[26], fields[27], fields[28]) = ("043", "043", "04");
        fields[59] = "20180326044500";
        text.extend(fields.join("\t").bytes());
        text.push(b'\n');
    }
    text
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("in memory");
    encoder.finish().expect("in memory")
}

fn packed() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        gz(JODIE),
        gz(SNAP),
        [gz(TGL), gz(b"3,0,1,4.0,0,2\n")].concat(),
    ];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        seeds.push(zip(&[("a.csv", TGL)], method));
        seeds.push(zip(
            &[("1.export.CSV", &gdelt()[..]), ("2.export.CSV", &gdelt())],
            method,
        ));
        seeds.push(zip(&[("a.csv", TGL), ("b.csv", TGL)], method));
    }
    seeds
}

fn parts(files: &[(&str, &[u8])]) -> Vec<u8> {
    let all: Vec<&[u8]> = files
        .iter()
        .flat_map(|(name, content)| [name.as_bytes(), content])
        .collect();
    all.join(SEPARATOR)
}

fn folders() -> Vec<Vec<u8>> {
    let labels = b",node,time,label,ext_roll\n0,0,0.0,0,0\n1,1,3.0,1,1\n2,0,3.0,0,2\n";
    vec![
        parts(&[
            ("edges.csv", TGL),
            ("labels.csv", labels),
            (
                "edge_features.npy",
                &npy("|b1", "(3, 2)", &[1, 0, 0, 0, 1, 1]),
            ),
            ("node_features.npy", &npy("<f2", "(4,)", &[0; 8])),
        ]),
        parts(&[("edges.csv", TGL), ("edge_features.pt", &tensor_file())]),
        parts(&[
            ("ml_x.csv", DGB),
            ("ml_x.npy", &npy("<f8", "(3, 1)", &[0; 24])),
            ("ml_x_node.npy", &npy("<f4", "(4, 1)", &[0; 16])),
        ]),
        parts(&[
            ("a.export.CSV", &gdelt()),
            ("b.export.CSV.gz", &gz(&gdelt())),
        ]),
        parts(&[("edges.csv.gz", &gz(TGL)), ("ml_x.csv", DGB)]),
    ]
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn npys() -> Vec<Vec<u8>> {
    vec![
        npy("<f4", "(3, 2)", &[0; 24]),
        npy("<f2", "(3,)", &[0; 6]),
        npy("|b1", "(3, 9)", &[1; 27]),
        npy("<i8", "(3, 1)", &[3; 24]),
        npy("<f8", "(3, 1, 1)", &[0; 24]),
    ]
}

/// What `torch.save` writes of a 3 x 4 tensor of f32.
fn tensor_pickle() -> Vec<u8> {
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\0\0\0storageq\x01ctorch\nFloatStorage\nq\x02\
      X\x01\0\0\x000q\x03X\x03\0\0\0cpuq\x04K\x0ctq\x05QK\x00K\x03K\x04\x86q\x06K\x04K\x01\x86q\x07\
      \x89ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b."
        .to_vec()
}

fn tensor_file() -> Vec<u8> {
    let files: [(&str, &[u8]); 4] = [
        ("x/data.pkl", &tensor_pickle()),
        ("x/byteorder", b"little"),
        ("x/data/0", &[0; 48]),
        ("x/version", b"3\n"),
    ];
    zip(&files, CompressionMethod::Stored)
}

fn arrays() -> Vec<Vec<u8>> {
    let mut seeds = npys();
    seeds.push(tensor_file());
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let rows = npy("<f4", "(3, 2)", &[0; 24]);
        seeds.push(zip(&[("rows.npy", &rows)], method));
        seeds.push(zip(
            &[("edge_features.npy", &rows[..]), ("b.npy", &rows)],
            method,
        ));
    }
    seeds
}

fn pickles() -> Vec<Vec<u8>> {
    vec![
        tensor_pickle(),
        // Protocol 4: frames, short texts, memoized names.
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94.".to_vec(),
        b"\x80\x02}q\x00X\x01\0\0\0aq\x01K\x01s.".to_vec(),
        b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.".to_vec(),
    ]
}

/// What NumPy writes of `{(0, 4, 3): numpy.array([4, 5])}`, and what is read beside pickles.
fn candidates() -> Vec<Vec<u8>> {
    let numpy: &[u8] = b"\x80\x04}K\x00K\x04K\x03\x87\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05\
        numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R(K\x01K\x02\x85\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02i8\x89\x88\x87\
        R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x10\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0tbs.";
    let framed = [b"\x80\x05\x95\x10\0\0\0\0\0\0\0", &numpy[2..]].concat();
    vec![
        numpy.to_vec(),
        framed,
        b"\x80\x04}\x94(K\x00K\x04K\x03\x87\x94h\x00u.".to_vec(),
        b"0 4 5\n1 5\n".to_vec(),
        npy("<i8", "(1, 3)", &[0; 24]),
    ]
}

fn parquets() -> Vec<Vec<u8>> {
    let plain = "required int64 src; required int64 dst; required double time;";
    let text = "required binary source (UTF8); required binary target (UTF8); required int64 timestamp (TIMESTAMP_MILLIS); \
                required boolean feature_0; required boolean feature_1;";
    let lists = "required int64 src; required int64 dst; required double time; \
                 required group features (LIST) { repeated group list { required float element; } }";
    vec![
        written(
            plain,
            &[
                Values::Whole(&[1, 2, 1]),
                Values::Whole(&[2, 3, 3]),
                Values::Double(&[0.5, 1.0, 1.0]),
            ],
        ),
        written(
            text,
            &[
                Values::Text(&["a", "b"]),
                Values::Text(&["b", "a"]),
                Values::Whole(&[1_500_000_000_000, 1_500_000_000_123]),
                Values::Bool(&[true, false]),
                Values::Bool(&[false, false]),
            ],
        ),
        written(
            lists,
            &[
                Values::Whole(&[1, 2]),
                Values::Whole(&[2, 3]),
                Values::Double(&[0.5, 1.0]),
                Values::Lists(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 1, 1], &[0, 1, 0, 1]),
            ],
        ),
    ]
}

/// One column of a Parquet file.
enum Values<'a> {
    Whole(&'a [i64]),
    Double(&'a [f64]),
    Bool(&'a [bool]),
    Text(&'a [&'a str]),
    /// Values, definition and repetition levels.
    Lists(&'a [f32], &'a [i16], &'a [i16]),
}

fn written(fields: &str, columns: &[Values<'_>]) -> Vec<u8> {
    let schema = parse_message_type(&format!("message events {{ {fields} }}")).expect("a schema");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, Arc::new(schema), properties).expect("in memory");
    let mut group = writer.next_row_group().expect("in memory");
    for values in columns {
        let mut to = group
            .next_column()
            .expect("in memory")
            .expect("a column of the schema");
        match values {
            Values::Whole(v) => to.typed::<Int64Type>().write_batch(v, None, None),
            Values::Double(v) => to.typed::<DoubleType>().write_batch(v, None, None),
            Values::Bool(v) => to.typed::<BoolType>().write_batch(v, None, None),
            Values::Text(v) => {
                let v: Vec<ByteArray> = v.iter().map(|&text| ByteArray::from(text)).collect();
                to.typed::<ByteArrayType>().write_batch(&v, None, None)
            }
            Values::Lists(v, def, rep) => {
                to.typed::<FloatType>().write_batch(v, Some(def), Some(rep))
            }
        }
        .expect("values of the column's type");
        to.close().expect("in memory");
    }
    group.close().expect("in memory");
    writer.close().expect("in memory");
    file
}

fn stores() -> Vec<Vec<u8>> {
    let meta = br#"{"format":"mspipe-store","version":2,"name":"x","origin":"y","synthetic":false,"events":3,"nodes":3,"ticks_per_unit":10,"bipartite":false,"labels":false,"roll":false,"edge_features":{"type":"f32","width":2},"node_features":null,"id_map":false,"id_spaces":"one","names":true,"hash":"00","files":{},"seal":"00"}"#;
    let names = br#"{"nodes":["a","b","c"],"edge_features":["w","x"],"node_features":null}"#;
    vec![
        parts(&[("meta.json", meta)]),
        parts(&[("names.json", names)]),
        parts(&[("src.u32", &[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])]),
        parts(&[("time.i64", &[0; 24]), ("edge_features.f32", &[0; 24])]),
        parts(&[
            ("roll.u8", &[0, 1, 2]),
            ("labels.i32", &[0; 12]),
            ("id_map.u64", &[0; 24]),
        ]),
    ]
}
