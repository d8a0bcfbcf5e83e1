//! The name that somebody may have meant.

/// Names that are less alike than this, of 1, are not what somebody meant.
const LEAST: f64 = 0.75;

/// How near a name is that has the written one among its words, and one whose words begin with its letters.
const A_WORD: f64 = 0.89;
const INITIALS: f64 = 0.91;

/// The one of `names` that is most like `written`; none where no one is like it. `decay` is near to
/// `weight_decay`, and `lr` to `learning_rate`.
fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    for name in names {
        let near = near(written, name);
        // Of equals the first, as a longer name stands behind that which it extends.
        if near >= LEAST && best.is_none_or(|(most, _)| near > most) {
            best = Some((near, name));
        }
    }
    best.map(|(_, name)| name)
}

/// What is said of a name that is none: `; the nearest is 'epochs'`, or nothing where no one is like it.
pub fn the_nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, names).map_or_else(String::new, |name| format!("; the nearest is '{name}'"))
}

fn near(written: &str, name: &str) -> f64 {
    let alike = strsim::jaro_winkler(written, name);
    let mut words = name.split('_');
    let initials: String = words
        .clone()
        .filter_map(|word| word.chars().next())
        .collect();
    if words.any(|word| word == written) {
        alike.max(A_WORD)
    } else if written.chars().nth(1).is_some() && initials == written {
        alike.max(INITIALS)
    } else {
        alike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_near() {
        let names = ["epochs", "width", "time_width"];
        assert_eq!(nearest("epoch", names), Some("epochs"));
        assert_eq!(nearest("widht", names), Some("width"));
        assert_eq!(the_nearest("epoch", names), "; the nearest is 'epochs'");
    }

    #[test]
    fn words_and_initials_are_near() {
        let names = [
            "batch_size",
            "lr_schedule",
            "learning_rate",
            "node_learning_rate",
            "weight_decay",
        ];
        for (written, expected) in [
            ("lr", "learning_rate"),
            ("bs", "batch_size"),
            ("rate", "learning_rate"),
            ("decay", "weight_decay"),
        ] {
            assert_eq!(nearest(written, names), Some(expected));
        }
    }

    #[test]
    fn what_is_like_nothing_has_no_nearest() {
        let names = [
            "sampler",
            "checkpoint_every",
            "memory_write",
            "threads",
            "profile",
        ];
        for written in ["resume", "help", "dry_run", "reading", "config", "x", ""] {
            assert_eq!(nearest(written, names), None, "{written}");
        }
        assert_eq!(the_nearest("x", names), "");
    }
}
