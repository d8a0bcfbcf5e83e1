//! A pickle as a row of operations, of all protocols.

use std::io::{self, BufRead, Read};

use super::{CUT_OFF, PickleError};

/// Longest text of an operation that ends with a line: names and numbers.
const MAX_LINE: u64 = 1 << 16;

/// What follows an operation's code.
enum Argument {
    /// So many bytes.
    Fixed(u64),
    /// A length in this many bytes, then that many bytes.
    Sized(usize),
    /// So many lines.
    Lines(usize),
}

/// What follows `code`; None for a code that no protocol has.
fn argument(code: u8) -> Option<Argument> {
    Some(match code {
        b'('
        | b'.'
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'R'
        | b'b'
        | b'd'
        | b'l'
        | b't'
        | b's'
        | b'a'
        | b')'
        | b']'
        | b'}'
        | b'e'
        | b'u'
        | b'Q'
        | b'o'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => Argument::Fixed(0),
        b'K' | b'h' | b'q' | 0x80 | 0x82 => Argument::Fixed(1),
        b'M' | 0x83 => Argument::Fixed(2),
        b'J' | b'j' | b'r' | 0x84 => Argument::Fixed(4),
        b'G' | 0x95 => Argument::Fixed(8),
        b'U' | b'C' | 0x8a | 0x8c => Argument::Sized(1),
        b'T' | b'X' | b'B' | 0x8b => Argument::Sized(4),
        0x8d | 0x8e | 0x96 => Argument::Sized(8),
        b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'p' | b'P' => Argument::Lines(1),
        b'c' | b'i' => Argument::Lines(2),
        _ => return None,
    })
}

/// Reads operations.
pub(super) struct Operations<R> {
    input: R,
    /// Bytes read.
    read: u64,
    /// Where the last operation begins.
    at: u64,
    /// Its argument, if that was read; two lines with a space between them.
    argument: Vec<u8>,
}

impl<R: BufRead> Operations<R> {
    pub(super) fn new(input: R) -> Operations<R> {
        Operations {
            input,
            read: 0,
            at: 0,
            argument: Vec::new(),
        }
    }

    /// Code of the next operation, and bytes of its argument that are still to be
    /// [read](Operations::read) or [skipped](Operations::skip).
    pub(super) fn next(&mut self) -> Result<(u8, u64), PickleError> {
        self.at = self.read;
        let [code] = self.array()?;
        self.argument.clear();
        match argument(code) {
            None => Err(self.wrong(format!(
                "0x{code:02x}, which is not a pickle operation, was found"
            ))),
            Some(Argument::Fixed(length)) => Ok((code, length)),
            Some(Argument::Sized(bytes)) => {
                let mut length = [0; 8];
                self.exactly(&mut length[..bytes])?;
                Ok((code, u64::from_le_bytes(length)))
            }
            Some(Argument::Lines(lines)) => {
                for line in 0..lines {
                    if line > 0 {
                        self.argument.push(b' ');
                    }
                    self.line()?;
                }
                Ok((code, 0))
            }
        }
    }

    /// Reads `length` bytes of the argument.
    pub(super) fn read(&mut self, length: u64) -> Result<(), PickleError> {
        // Grows with the bytes that come, not with those that are claimed.
        let taken = (&mut self.input)
            .take(length)
            .read_to_end(&mut self.argument);
        self.came(taken? as u64, length)
    }

    /// Passes over `length` bytes of the argument.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), PickleError> {
        let passed = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
        self.came(passed, length)
    }

    /// What was read of the last operation's argument.
    pub(super) fn argument(&self) -> &[u8] {
        &self.argument
    }

    /// An error at the last operation.
    pub(super) fn wrong(&self, found: impl Into<String>) -> PickleError {
        PickleError::Wrong {
            at: self.at,
            found: found.into(),
        }
    }

    fn line(&mut self) -> Result<(), PickleError> {
        let before = self.argument.len();
        let mut limited = (&mut self.input).take(MAX_LINE);
        self.read += limited.read_until(b'\n', &mut self.argument)? as u64;
        match self.argument.pop() {
            Some(b'\n') => Ok(()),
            _ if (self.argument.len() - before) as u64 + 1 >= MAX_LINE => {
                Err(self.wrong(format!("a line of over {MAX_LINE} bytes was found")))
            }
            _ => Err(self.wrong(CUT_OFF)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        self.exactly(&mut array)?;
        Ok(array)
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), PickleError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.read += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.wrong(CUT_OFF)),
            Err(error) => Err(error.into()),
        }
    }

    fn came(&mut self, bytes: u64, expected: u64) -> Result<(), PickleError> {
        self.read += bytes;
        if bytes < expected {
            return Err(self.wrong(format!(
                "{CUT_OFF}: {expected} bytes of a value announced, {bytes} there"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(bytes: &[u8]) -> Result<Vec<u8>, PickleError> {
        let mut operations = Operations::new(bytes);
        let mut codes = Vec::new();
        while codes.last() != Some(&b'.') {
            let (code, length) = operations.next()?;
            operations.skip(length)?;
            codes.push(code);
        }
        Ok(codes)
    }

    #[test]
    fn arguments_are_passed_over_and_their_ends_noticed() {
        let sound = b"\x80\x02cos\nsystem\nX\x02\0\0\0lsK\x01\x8e\x01\0\0\0\0\0\0\0..";
        assert_eq!(codes(sound).unwrap(), *b"\x80cXK\x8e.");
        let message = |bytes: &[u8]| codes(bytes).unwrap_err().to_string();
        let there = "the pickle is damaged or cut off: 16 bytes of a value announced, 2 there \
                     (at byte 2 of the pickle)";
        assert_eq!(message(b"\x80\x02X\x10\0\0\0ls"), there);
        assert!(message(b"cos\nsys").contains("damaged or cut off (at byte 0"));
        assert!(message(b"K\x01\xff").contains("0xff, which is not a pickle operation"));
        let long = [b"V".to_vec(), vec![b'x'; 1 << 17]].concat();
        assert!(message(&long).contains("a line of over 65536 bytes"));
    }
}
