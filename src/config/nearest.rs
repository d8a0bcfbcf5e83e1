//! The name that somebody may have meant.

/// The one of `names` that is most like `written`; empty where there is none.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> &'a str {
    let near = |name: &&str| strsim::jaro_winkler(written, name);
    let nearest = (names.into_iter()).max_by(|a, b| near(a).total_cmp(&near(b)));
    nearest.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_near() {
        let names = ["epochs", "width", "time_width"];
        assert_eq!(nearest("epoch", names), "epochs");
        assert_eq!(nearest("widht", names), "width");
        assert_eq!(nearest("x", []), "");
    }
}
