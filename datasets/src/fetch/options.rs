//! How to fetch.

use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;

use crate::stop::Stop;

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// The data folder; files come to lie in `data_dir/NAME/`.
    pub data_dir: PathBuf,
    /// Attempts in a row that may fail without a new byte before it is given up.
    pub retries: u32,
    /// Pause after the first failure; it doubles with every further one.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Longest wait for name resolution and for a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a connected server.
    pub read_timeout: Duration,
    /// Where what came is read before it gets its name; as
    /// [`OpenOptions::cache_dir`](crate::OpenOptions::cache_dir). Nothing stays there.
    pub cache_dir: Option<PathBuf>,
    /// Ends a download early; bytes that can be continued are kept.
    pub stop: Stop,
}

impl FetchOptions {
    /// Into `data_dir`; 5 retries after 1, 2, 4, 8, 16 s, 15 s to connect, 60 s of silence.
    pub fn new(data_dir: impl Into<PathBuf>) -> FetchOptions {
        FetchOptions {
            data_dir: data_dir.into(),
            retries: 5,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            cache_dir: None,
            stop: Stop::default(),
        }
    }

    pub(super) fn agent(&self) -> Agent {
        Agent::config_builder()
            .user_agent(concat!("mspipe/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_recv_response(Some(self.read_timeout))
            .timeout_per_read(Some(self.read_timeout))
            .build()
            .new_agent()
    }
}
