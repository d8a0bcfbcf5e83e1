//! What columns of tables are called by those who publish event streams.
//!
//! Upper and lower case are one. A name stands for one role; a name that is not
//! here has none, and no meaning is guessed from values.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Destination,
    Time,
    Label,
    Roll,
}

const NAMES: [(Role, &[&str]); 5] = [
    (
        Role::Source,
        &[
            "src",
            "source",
            "src_id",
            "source_id",
            "u",
            "user",
            "user_id",
            "from",
            "from_id",
            "head",
            "nation",
        ],
    ),
    (
        Role::Destination,
        &[
            "dst",
            "destination",
            "dst_id",
            "destination_id",
            "target",
            "target_id",
            "i",
            "item",
            "item_id",
            "v",
            "to",
            "to_id",
            "tail",
            "product_id",
            "token_address",
            "genre",
            "trading nation",
        ],
    ),
    (
        Role::Time,
        &[
            "time",
            "timestamp",
            "ts",
            "t",
            "unix_time",
            "day",
            "date",
            "year",
        ],
    ),
    (Role::Label, &["label", "state_label"]),
    (Role::Roll, &["ext_roll", "roll"]),
];

/// The role of a column of this name.
pub(crate) fn role(name: &str) -> Option<Role> {
    let name = name.trim().to_ascii_lowercase();
    NAMES
        .iter()
        .find(|(_, names)| names.contains(&name.as_str()))
        .map(|(role, _)| *role)
}

/// The names of a role, for messages.
pub(crate) fn names_of(role: Role) -> String {
    NAMES
        .iter()
        .find(|(r, _)| *r == role)
        .map_or(String::new(), |(_, names)| names.join(", "))
}

/// The number of a feature column: `feature_7`, `feat7`, `f_7` and `x7` are 7.
pub(crate) fn feature_number(name: &str) -> Option<usize> {
    let name = name.trim().to_ascii_lowercase();
    [
        "edge_feature",
        "edge_feat",
        "features",
        "feature",
        "feat",
        "msg",
        "f",
        "x",
    ]
    .into_iter()
    .find_map(|prefix| {
        let digits = name
            .strip_prefix(prefix)?
            .trim_start_matches(['_', '.', '-']);
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    })
}

/// Whether a column of lists holds the features of an event.
pub(crate) fn is_feature_list(name: &str) -> bool {
    let names = [
        "features",
        "feature",
        "feat",
        "feats",
        "edge_features",
        "edge_feat",
        "edge_feats",
        "msg",
    ];
    names.contains(&name.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_role_each() {
        let mut all: Vec<&str> = NAMES
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(role(" User_ID"), Some(Role::Source));
        assert_eq!(role("callsign"), None);
        assert_eq!(feature_number("feat_12"), Some(12));
        assert_eq!(feature_number("F3"), Some(3));
        assert_eq!(feature_number("features.0"), Some(0));
        assert_eq!(feature_number("f"), None);
        assert_eq!(feature_number("from"), None);
    }
}
