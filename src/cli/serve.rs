//! `mspipe serve`: answers over HTTP while events come in.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use mspipe::console;
use mspipe::numbers::whole;
use mspipe::serve::{self, MaxJump, ServeOptions};

use super::predict::{Asked, STANDARD};
use super::update::LateName;

const EXAMPLES: &str = "\
Examples:
  Ask a run over HTTP, and look at http://127.0.0.1:8080/:
    mspipe serve runs/shop-tgn-1 --http 127.0.0.1:8080
    curl -d '{\"pairs\": [[\"alice\", \"p1\"]]}' http://127.0.0.1:8080/score
    curl -d '{\"source\": \"alice\", \"k\": 10}' http://127.0.0.1:8080/top-k
  Events, one JSON object in each line; what was acknowledged is on disk:
    curl -d '{\"src\": \"alice\", \"dst\": \"p1\", \"time\": 2678400}' http://127.0.0.1:8080/events
  The same request twice does no harm where it says which of whose it is:
    curl -d @batch7.jsonl 'http://127.0.0.1:8080/events?source=shop&seq=7'
  Events from another program:
    tail -f events.jsonl | mspipe serve runs/shop-tgn-1 --http 127.0.0.1:8080 --events -

The server's folder (--to) has the log of all events and the state; a server that is started with
the same folder goes on where the last one was, however that ended. The run itself stays as it is.";

/// Arguments of `mspipe serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    asked: Asked,

    /// Address and port to listen on; any but this machine's own needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    http: SocketAddr,

    /// Also follow events from standard input, one JSON object in each line
    #[arg(long, value_name = "-")]
    events: Option<String>,

    /// Folder of the server: the log of events and the state [default: serve in the run's folder, or
    /// STATE-serve beside a state]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,

    /// File with the token that whoever asks must send (Authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// What becomes of events that are earlier than the last one
    #[arg(long, value_enum, default_value = "refuse")]
    late: LateName,

    /// How far an event may be ahead of the last one, in the stream's unit; a request with one that is
    /// further is refused. stream: as far as the stream is long that the run was made on; off: any
    #[arg(long, value_name = "TIME|stream|off", default_value = "stream")]
    max_jump: String,

    /// Events after which the state is saved; a server that was killed follows what came since again
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = whole::<u64>(1..=u64::MAX))]
    save_every: u64,

    /// Bytes of a request's body, at most
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = whole::<u32>(1024..=1 << 30))]
    max_body: u32,

    /// Connections at once, at most; another one is told to come again (503)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<u64>(1..=4096))]
    max_connections: u64,

    /// Requests for events that wait for memory, at most; another one is told to come again (503)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<u16>(1..=65_535))]
    queue: u16,

    /// Seconds for a request to come whole, and for an answer to be taken
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = whole::<u64>(1..=3600))]
    patience: u64,
}

/// Serves until a signal comes.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    if args
        .events
        .as_deref()
        .is_some_and(|events| events != STANDARD)
    {
        bail!("--events: expected -, standard input; a file's events: mspipe update, or < FILE");
    }
    let options = ServeOptions {
        address: args.http,
        folder: args.to.clone().unwrap_or_else(|| folder(args.asked.path())),
        token: args.token_file.as_deref().map(token).transpose()?,
        late: args.late.into(),
        max_jump: MaxJump::from(&args.max_jump[..]),
        save_every: args.save_every,
        max_body: args.max_body as usize,
        max_connections: args.max_connections,
        queue: args.queue.into(),
        patience: Duration::from_secs(args.patience),
        standard_input: args.events.is_some(),
    };
    let load = args.asked.options();
    Ok(serve::serve(args.asked.path(), &load, options, |what| {
        console::note(what)
    })?)
}

/// An address with its port; of names, `localhost` alone is one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let numbers = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numbers.parse().map_err(|_| {
        "expected an address of numbers and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080; names are not \
         looked up"
            .to_owned()
    })
}

/// The folder of a server of `path`.
fn folder(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("serve"),
        false => {
            let mut name = path.file_stem().unwrap_or_default().to_owned();
            name.push("-serve");
            path.with_file_name(name)
        }
    }
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!(
            "--token-file {}: expected a token of at least 16 letters, digits or signs in one line",
            path.display()
        );
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_numbers_and_a_port() {
        assert_eq!(address("localhost:80"), Ok(([127, 0, 0, 1], 80).into()));
        assert_eq!(address("127.0.0.1:80"), address("localhost:80"));
        for text in ["8080", "localhost", "example.com:80", ":80"] {
            assert!(
                address(text).unwrap_err().contains("127.0.0.1:8080"),
                "{text}"
            );
        }
    }
}
