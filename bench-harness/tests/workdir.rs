//! An empty folder in cargo's own temporary folder, and what runs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// `mspipe-bench` with these arguments.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mspipe-bench"));
    command.args(arguments);
    command
}

/// Exit code of a command, and what it printed on standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code(), stdout, stderr)
}

pub(crate) struct Workdir(pub(crate) PathBuf);

impl Workdir {
    pub(crate) fn new(name: &str) -> Workdir {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        Workdir(folder)
    }

    /// The program in this folder, with data and cache of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .current_dir(&self.0)
            .env("MSPIPE_CACHE_DIR", self.0.join("cache"))
            .env("MSPIPE_DATA_DIR", self.0.join("data"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(&mut self.command(arguments))
    }

    /// What a command printed that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> (String, String) {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    /// Standard error of a command that could not be done.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
        stderr
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).unwrap()
    }
}
