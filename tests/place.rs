//! An empty folder in which a test runs the program.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Name of the cache of streams in the folder.
pub(crate) const CACHE: &str = "cache";

/// Where the program runs.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            folder: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that runs there and knows no other cache of streams.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("MSPIPE_CACHE_DIR", self.path(CACHE));
        command
    }

    pub(crate) fn start(&self, arguments: &str) -> Child {
        self.command(env!("CARGO_BIN_EXE_mspipe"))
            .args(arguments.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs to the end and returns what it said on stderr; fails unless it ends with `code`.
    pub(crate) fn run(&self, arguments: &str, code: i32) -> String {
        let output = self.start(arguments).wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        said
    }
}
