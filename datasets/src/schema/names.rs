//! What columns of tables are called by those who publish event streams.
//!
//! Upper and lower case are one, and so are names with and without underscores, spaces, dots
//! and dashes. A name stands for one role; a name that is not here has none, and no meaning is
//! guessed from values.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Destination,
    Time,
    Label,
    Split,
    /// The event's own number.
    EventId,
    /// TGL's mark of its inductive split, which is not read.
    InductiveSplit,
}

impl Role {
    /// For messages.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Destination => "destination",
            Role::Time => "time",
            Role::Label => "state label",
            Role::Split => "split mark",
            Role::EventId => "event's number",
            Role::InductiveSplit => "inductive split mark",
        }
    }
}

/// Sources that may be destinations too.
const SOURCES: &[&str] = &[
    "src",
    "source",
    "srcid",
    "sourceid",
    "srcnode",
    "sourcenode",
    "u",
    "from",
    "fromid",
    "fromnode",
    "fromnodeid",
    "fromaddress",
    "sender",
    "senderid",
    "head",
    "nation",
    "origin",
    "payer",
    "caller",
];
/// Sources that are of another kind than what they act on.
const USERS: &[&str] = &[
    "user",
    "userid",
    "uid",
    "buyer",
    "buyerid",
    "customer",
    "customerid",
    "client",
    "clientid",
    "reviewer",
    "reviewerid",
    "visitor",
    "visitorid",
];
const DESTINATIONS: &[&str] = &[
    "dst",
    "dest",
    "destination",
    "dstid",
    "destinationid",
    "dstnode",
    "destinationnode",
    "target",
    "targetid",
    "targetnode",
    "i",
    "v",
    "to",
    "toid",
    "tonode",
    "tonodeid",
    "toaddress",
    "receiver",
    "receiverid",
    "recipient",
    "recipientid",
    "tail",
    "tradingnation",
    "payee",
    "callee",
];
const ITEMS: &[&str] = &[
    "item",
    "itemid",
    "product",
    "productid",
    "asin",
    "movie",
    "movieid",
    "genre",
    "tokenaddress",
    "page",
    "pageid",
    "song",
    "songid",
    "track",
    "trackid",
    "artist",
    "artistid",
    "business",
    "businessid",
    "subreddit",
];
const TIMES: &[&str] = &[
    "time",
    "timestamp",
    "ts",
    "t",
    "unixtime",
    "unixtimestamp",
    "day",
    "date",
    "datetime",
    "year",
];
const LABELS: &[&str] = &["label", "statelabel"];
const SPLITS: &[&str] = &["extroll", "roll", "split"];
const EVENT_IDS: &[&str] = &["idx", "eventid", "edgeid", "edgeidx", "eid"];
const INDUCTIVE: &[&str] = &["introll"];

/// The name without what does not count.
pub(crate) fn plain(name: &str) -> String {
    (name.chars())
        .filter(|c| !matches!(c, '_' | ' ' | '-' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The role of a column of this name.
pub(crate) fn role(name: &str) -> Option<Role> {
    let name = plain(name);
    let roles = [
        (Role::Source, SOURCES),
        (Role::Source, USERS),
        (Role::Destination, DESTINATIONS),
        (Role::Destination, ITEMS),
        (Role::Time, TIMES),
        (Role::Label, LABELS),
        (Role::Split, SPLITS),
        (Role::EventId, EVENT_IDS),
        (Role::InductiveSplit, INDUCTIVE),
    ];
    (roles
        .iter()
        .find(|(_, names)| names.contains(&name.as_str())))
    .map(|(role, _)| *role)
}

/// What the number at a place of a list in the column `list` is called.
pub(crate) fn of_list(list: &str, place: usize) -> String {
    format!("{list}[{place}]")
}

/// The column of the list that [`of_list`] has named a number of.
pub(crate) fn list_of(name: &str) -> Option<&str> {
    let (list, place) = name.strip_suffix(']')?.rsplit_once('[')?;
    place.parse::<usize>().is_ok().then_some(list)
}

/// Whether columns of these names hold nodes of two kinds, such as users and items.
pub(crate) fn two_kinds(src: &str, dst: &str) -> bool {
    USERS.contains(&plain(src).as_str()) && ITEMS.contains(&plain(dst).as_str())
}

/// Whether the column is a row index that a library wrote: pandas leaves the name of its index
/// empty, or writes `Unnamed: 0` when it saves a second time, and `__index_level_0__` in Parquet.
pub(crate) fn is_index(name: &str, first: bool) -> bool {
    (first && name.is_empty())
        || name.starts_with("Unnamed: ")
        || name.starts_with("__index_level_")
}

/// Whether the name stands for all features that follow, as in JODIE's files.
pub(crate) fn is_rest(name: &str) -> bool {
    plain(name) == "commaseparatedlistoffeatures"
}

/// The number of a feature column: `feature_7`, `feat7`, `f_7` and `x7` are 7.
pub(crate) fn feature_number(name: &str) -> Option<usize> {
    let name = plain(name);
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let prefix = &name[..name.len() - digits.len()];
    let known = [
        "edgefeature",
        "edgefeat",
        "features",
        "feature",
        "feat",
        "msg",
        "f",
        "x",
    ];
    (known.contains(&prefix) && !digits.is_empty())
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_role_each() {
        let mut all: Vec<&str> = [
            SOURCES,
            USERS,
            DESTINATIONS,
            ITEMS,
            TIMES,
            LABELS,
            SPLITS,
            EVENT_IDS,
            INDUCTIVE,
        ]
        .concat();
        assert!(all.iter().all(|name| plain(name) == **name));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(role("User_ID"), Some(Role::Source));
        assert_eq!(role("EXT_ROLL"), Some(Role::Split));
        assert_eq!(role("from address"), Some(Role::Source));
        assert_eq!(role("callsign"), None);
        assert!(two_kinds("user_id", "ITEM_ID") && two_kinds("buyer", "product"));
        assert!(!two_kinds("u", "i") && !two_kinds("user", "target"));
        assert!(is_index("", true) && !is_index("", false) && is_index("Unnamed: 0.1", false));
        assert_eq!(feature_number("feat_12"), Some(12));
        assert_eq!(feature_number("F3"), Some(3));
        assert_eq!(feature_number("features.0"), Some(0));
        assert_eq!(feature_number("f"), None);
        assert_eq!(feature_number("f1a"), None);
        assert_eq!(feature_number("from"), None);
    }
}
