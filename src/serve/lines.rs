//! Events from standard input, one JSON object in each line.

use std::io::{self, BufRead, BufReader};
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::shared::Server;
use super::work::{Reply, Work};

/// Lines that are followed at once, at most.
const LINES: usize = 512;

impl Server {
    /// Follows the lines of standard input to its end, as many at once as are there.
    pub(super) fn standard_input(&self) {
        let mut input = BufReader::with_capacity(1 << 20, io::stdin());
        let (mut first, mut refused) = (1, 0);
        loop {
            let mut lines = String::new();
            let mut count = 0;
            while count < LINES && (count == 0 || input.buffer().contains(&b'\n')) {
                match input.read_line(&mut lines) {
                    Ok(0) => break,
                    Ok(_) => count += 1,
                    Err(error) => {
                        self.tell(format!("standard input: {error}"));
                        return;
                    }
                }
            }
            if count == 0 {
                let refused = match refused {
                    0 => String::new(),
                    refused => format!("; {refused} of its lines could not be followed"),
                };
                self.tell(format!(
                    "standard input has ended after line {}{refused}",
                    first - 1
                ));
                return;
            }
            // A line that can't be followed costs no other.
            if self.follow_lines(&lines, first).is_err() {
                for (line, text) in (first..).zip(lines.lines()) {
                    if let Err(reason) = self.follow_lines(text, line) {
                        refused += 1;
                        self.tell(format!("standard input: {reason}"));
                    }
                }
            }
            first += count;
        }
    }

    fn follow_lines(&self, lines: &str, first: usize) -> Result<(), String> {
        let events = self.events(lines, first)?;
        if events.is_empty() {
            return Ok(());
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let work = Work {
            source: String::new(),
            seq: None,
            events,
            reply,
        };
        let ending = |_| "the server ends".to_owned();
        self.numbers.waiting.fetch_add(1, Ordering::Relaxed);
        // Waits where there is no room: whoever writes waits too.
        self.queue
            .send(work)
            .map_err(|_| "the server ends".to_owned())?;
        match answer.recv().map_err(ending)? {
            Reply::Followed(_) => Ok(()),
            Reply::TooFar(reason) => {
                self.numbers.too_far.fetch_add(1, Ordering::Relaxed);
                Err(format!("line {first}: {reason}"))
            }
            Reply::Refused(reason) | Reply::Failed(reason) | Reply::Ending(reason) => {
                Err(format!("line {first}: {reason}"))
            }
            Reply::Repeated | Reply::Gap { .. } => {
                unreachable!("standard input has no numbers")
            }
        }
    }
}
