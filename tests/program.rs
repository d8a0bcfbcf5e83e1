//! The program in a folder of its own, as a user starts it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than any run below takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a running program is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(10);

/// The program in a folder of its own.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
}

impl Program {
    pub(crate) fn new() -> Program {
        Program {
            folder: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&self, arguments: &str) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The program with these arguments in its folder; words have no spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mspipe"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("MSPIPE_CACHE_DIR", self.path("cache"));
        command
    }

    /// Runs to the end, which must come.
    pub(crate) fn run(&self, arguments: &str) -> Ended {
        watched(self.start(arguments), arguments)
    }

    /// The same with one argument more, which may be empty or have spaces.
    pub(crate) fn run_with(&self, arguments: &str, last: &str) -> Ended {
        let mut command = self.command(arguments);
        command
            .arg(last)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        watched(command.spawn().unwrap(), &format!("{arguments} {last}"))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Waits for a program's end; one that hangs is ended, and the test with it.
pub(crate) fn watched(mut program: Child, what: &str) -> Ended {
    let begin = Instant::now();
    // It prints less than a pipe holds, so nobody needs to read meanwhile.
    while program.try_wait().unwrap().is_none() {
        if begin.elapsed() > PATIENCE {
            program.kill().unwrap();
            panic!("{what}: hangs");
        }
        thread::sleep(GLANCE);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = program.wait_with_output().unwrap();
    Ended {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}
