//! Connections: who may have one, and what is said over it.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::shared::Server;
use super::wire::{Connection, Limits, NoRequest, Response};

impl Server {
    /// Takes connections until the server ends.
    pub(super) fn accept(self: Arc<Server>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stop.requested() {
                return;
            }
            let Ok(stream) = stream else {
                // No more files may be opened for now.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let open = self.numbers.connections.fetch_add(1, Ordering::SeqCst);
            let server = self.clone();
            let spawned = thread::Builder::new()
                .name("connection".to_owned())
                .spawn(move || {
                    server.converse(stream, open < server.options.max_connections);
                    server.numbers.connections.fetch_sub(1, Ordering::SeqCst);
                });
            if spawned.is_err() {
                self.numbers.connections.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Answers what comes over one connection.
    fn converse(&self, stream: TcpStream, is_welcome: bool) {
        let limits = Limits {
            body: self.options.max_body,
            patience: self.options.patience,
            idle: self.options.patience * 2,
        };
        let Ok(mut connection) = Connection::new(stream, limits, &self.room, &self.stop) else {
            return;
        };
        if !is_welcome {
            let most = self.options.max_connections;
            let mut busy = Response::refused(
                503,
                format!("there are {most} connections already (--max-connections)"),
            );
            busy.retry_after = Some(1);
            connection.answer(None, &busy);
            return;
        }
        loop {
            match connection.next() {
                Ok(request) => {
                    let began = Instant::now();
                    let (name, response) = self.answer(&request);
                    self.numbers
                        .answered(name, response.status, began.elapsed());
                    if !connection.answer(Some(&request), &response) {
                        return;
                    }
                }
                Err(NoRequest::Ended) => return,
                Err(NoRequest::Refused(response)) => {
                    self.numbers
                        .answered("none", response.status, Duration::ZERO);
                    connection.answer(None, &response);
                    return;
                }
            }
        }
    }
}
