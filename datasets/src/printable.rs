//! Text from outside, made safe to print.
//!
//! Names of files, arrays, columns and nodes are whatever somebody wrote. On a terminal an escape
//! sequence in them moves the cursor, renames the window or hides what follows; in a page or a
//! chart a control character is no valid text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with its control characters shown, as JSON writes them: ESC becomes `\u001b`.
///
/// Line breaks and tabs stay. Characters that only change the direction of what follows are shown
/// too, since a name with them reads as another one.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_unprintable(c) {
            // All of them are in the first 65,536. Writing to a string does not fail.
            true => drop(write!(safe, "\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn is_unprintable(c: char) -> bool {
    let direction = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || (c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, safe) in [
            ("wiki.csv", "wiki.csv"),
            ("größe, 大きさ:\t1\n", "größe, 大きさ:\t1\n"),
            ("a\u{1b}[2Jb", "a\\u001b[2Jb"),
            ("a\u{9b}2Jb", "a\\u009b2Jb"),
            ("line\rover\u{8}\u{7f}", "line\\u000dover\\u0008\\u007f"),
            ("txt\u{202e}vsc.exe", "txt\\u202evsc.exe"),
        ] {
            assert_eq!(printable(text), safe);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let name = "a\u{1b}]0;owned\u{7}\u{9b}31m";
        let json = serde_json::to_string(name).unwrap_or_default();
        let safe = printable(&json);
        assert!(!safe.contains(is_unprintable));
        assert_eq!(
            serde_json::from_str::<String>(&safe).ok().as_deref(),
            Some(name)
        );
    }
}
