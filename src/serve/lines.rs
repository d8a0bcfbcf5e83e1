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
        let (mut first, mut refused, mut late) = (1, 0, 0);
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
                let late = match late {
                    0 => String::new(),
                    1 => "; 1 was late and left out".to_owned(),
                    late => format!("; {late} were late and left out"),
                };
                self.tell(format!(
                    "standard input has ended after line {}{refused}{late}",
                    first - 1
                ));
                return;
            }
            // A line that can't be followed costs no other.
            match self.follow_lines(&lines, first) {
                Ok(found) => late += found,
                Err(_) => {
                    for (line, text) in (first..).zip(lines.lines()) {
                        match self.follow_lines(text, line) {
                            Ok(found) => late += found,
                            Err(reason) => {
                                refused += 1;
                                self.tell(format!("standard input: {reason}"));
                            }
                        }
                    }
                }
            }
            first += count;
        }
    }

    /// Has memory follow `lines`, of which the first one is line `first`; tells of late ones, and returns how many
    /// were left out.
    fn follow_lines(&self, lines: &str, first: usize) -> Result<usize, String> {
        let events = self.events(lines, first)?;
        if events.is_empty() {
            return Ok(0);
        }
        let last = self.predictor().last();
        let times: Vec<i64> = events.iter().map(|event| event.time).collect();
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
            Reply::Followed(updated) => {
                if updated.refused > 0 {
                    self.tell_late(lines, first, late_ones(&times, last), updated.refused);
                }
                Ok(updated.refused)
            }
            Reply::TooFar(reason) => {
                self.numbers.too_far.fetch_add(1, Ordering::Relaxed);
                Err(format!("line {first}: {reason}"))
            }
            Reply::Refused(reason) | Reply::Failed(reason) | Reply::Ending(reason) => {
                Err(format!("line {first}: {reason}"))
            }
            Reply::Repeated { .. } | Reply::Other { .. } | Reply::Gap { .. } => {
                unreachable!("standard input has no numbers")
            }
        }
    }

    /// Tells which of `lines` were late: `refused` of them, the events `late` if nobody else sent some meanwhile.
    fn tell_late(&self, lines: &str, first: usize, late: Vec<usize>, refused: usize) {
        /// Numbers that are told.
        const SHOWN: usize = 8;
        let events = (first..).zip(lines.lines());
        let numbers: Vec<usize> = (events.filter(|(_, line)| !line.trim().is_empty()))
            .map(|(number, _)| number)
            .collect();
        let which = match late.len() == refused {
            true => {
                let shown = late.iter().take(SHOWN).map(|&at| numbers[at].to_string());
                let more = refused.saturating_sub(SHOWN);
                let more = (more > 0).then(|| format!("and {more} more"));
                format!("line {}", shown.chain(more).collect::<Vec<_>>().join(", "))
            }
            false => {
                let end = first + lines.lines().count() - 1;
                format!("lines {first} to {end}: {refused} of them")
            }
        };
        self.tell(format!(
            "standard input: {which}: earlier than the event before, and left out (--late accept takes them)"
        ));
    }
}

/// Which of the events at `times` are earlier than one before them, after `last`.
fn late_ones(times: &[i64], last: Option<i64>) -> Vec<usize> {
    let mut newest = last;
    let mut late = Vec::new();
    for (place, &time) in times.iter().enumerate() {
        match newest.is_some_and(|newest| time < newest) {
            true => late.push(place),
            false => newest = Some(time),
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_before_the_newest_are_late() {
        assert_eq!(late_ones(&[5, 7, 6, 7, 8, 5], Some(6)), [0, 2, 5]);
        assert!(late_ones(&[5, 5, 6], None).is_empty());
    }
}
