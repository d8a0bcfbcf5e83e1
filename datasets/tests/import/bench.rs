//! A folder of files, and writers of the formats that files come in.

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use mspipe_datasets::{EventLog, OpenOptions, import};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A folder with files, its own cache, and shorthands.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Bench {
        let bench = Bench {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, content) in files {
            let path = bench.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            cache_dir: Some(self.path("cache")),
            data_dir: Some(self.path("data")),
            ..OpenOptions::default()
        }
    }

    pub(crate) fn open(&self, name: &str) -> EventLog {
        self.open_with(name, self.options()).unwrap()
    }

    pub(crate) fn open_with(&self, name: &str, options: OpenOptions) -> Result<EventLog, String> {
        EventLog::open(self.path(name).to_str().unwrap(), &options).map_err(|e| e.to_string())
    }

    /// Events imported with sorting, and the notes.
    pub(crate) fn sorted(&self, name: &str) -> (EventLog, Vec<String>) {
        let options = OpenOptions {
            sort: true,
            ..self.options()
        };
        let to = self.path("sorted.mspipe");
        let source = self.path(name);
        let report = import(source.to_str().unwrap(), &options, &to).unwrap();
        (self.open("sorted.mspipe"), report.notes)
    }

    /// What an import says, for `name` as it is.
    pub(crate) fn notes(&self, name: &str) -> Vec<String> {
        let source = self.path(name);
        let to = self.path(&format!("{name}.mspipe"));
        import(source.to_str().unwrap(), &self.options(), &to)
            .unwrap()
            .notes
    }

    /// The message, without the temporary folder's name.
    pub(crate) fn refusal(&self, name: &str) -> String {
        self.refusal_with(name, self.options())
    }

    pub(crate) fn refusal_with(&self, name: &str, options: OpenOptions) -> String {
        let message = self.open_with(name, options).unwrap_err();
        // Nothing half-made may be left behind.
        let left: Vec<_> = fs::read_dir(self.path("cache"))
            .map_or(vec![], |d| d.map(|e| e.unwrap().path()).collect());
        assert!(left.is_empty(), "left in the cache: {left:?}");
        message.replace(
            &format!(
                "{}{}",
                self.folder.path().display(),
                std::path::MAIN_SEPARATOR
            ),
            "",
        )
    }
}

pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(crate) fn rows(log: &EventLog) -> Vec<f32> {
    let table = log.edge_features().unwrap();
    let ids: Vec<u32> = (0..table.rows() as u32).collect();
    let mut out = vec![0.0; table.rows() * table.width()];
    table.gather_into(&ids, &mut out);
    out
}

/// The file, compressed with gzip.
pub(crate) fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn bz2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(content: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(6);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zst(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

/// A zip archive.
pub(crate) fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip(files, CompressionMethod::Stored)
}

pub(crate) fn deflated(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip(files, CompressionMethod::Deflated)
}
