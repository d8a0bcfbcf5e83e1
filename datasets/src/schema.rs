//! Which column of a table holds what: one rule for text and Parquet.
//!
//! Source, destination and time are known by their names, or by `--columns`, all three or none;
//! positions count only where there is no header at all. Two columns for one role are refused:
//! which one is meant is not guessed. Every other column may be a feature, if its values are
//! numbers, or is named as left out.

use std::path::Path;

use crate::error::{DataError, quoted, shortened};
use crate::schema::reading::{Bipartite, Reading};

pub(crate) mod names;
pub mod reading;

use names::{Role, feature_number, is_index, is_rest, plain, role, two_kinds};

/// The columns of a table.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    /// `1`, `2`, … where the file has no names.
    pub(crate) names: Vec<String>,
    /// Whether the names stand in the file.
    pub(crate) named: bool,
    /// Whether rows have one field more than there are names, so that the first is taken for the row's
    /// own name.
    pub(crate) row_names: bool,
}

/// Where columns stand if there are no names, or which names count before all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Names that are taken for source, destination and time if all three are there.
    pub(crate) names: Option<[&'static str; 3]>,
    /// Positions of source, destination and time where none of them has a name.
    pub(crate) positions: Option<[usize; 3]>,
    /// Position of the state label where there are no names.
    pub(crate) label: Option<usize>,
    /// Whether sources and destinations are nodes of two kinds, if names don't tell.
    pub(crate) two_kinds: bool,
}

/// What each column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) names: Vec<String>,
    pub(crate) src: usize,
    pub(crate) dst: usize,
    pub(crate) time: usize,
    pub(crate) label: Option<usize>,
    pub(crate) split: Option<usize>,
    pub(crate) event_id: Option<usize>,
    /// Columns that are features if their values are numbers.
    pub(crate) candidates: Vec<usize>,
    /// The candidates were chosen by hand: each must hold numbers.
    pub(crate) chosen_features: bool,
    /// The label was chosen by hand: it must hold whole numbers.
    pub(crate) chosen_label: bool,
    /// Columns that are not read, and why.
    pub(crate) left_out: Vec<(usize, String)>,
    /// Whether sources and destinations have ids of their own.
    pub(crate) two_spaces: bool,
    /// Whether names stand in the file.
    pub(crate) named: bool,
}

/// Where the columns of what is asked for stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedColumns {
    pub(crate) src: usize,
    /// None in a table of nodes.
    pub(crate) dst: Option<usize>,
    pub(crate) time: Option<usize>,
    /// Whether nodes are destinations, as their column's name says.
    pub(crate) destinations: bool,
}

/// Source, destination and, if there is one, time of pairs: by `--columns`, by name, or by position
/// where there are no names.
///
/// # Errors
/// As [`Schema::of`].
pub(crate) fn pairs(
    path: &Path,
    header: &Header,
    reading: &Reading,
) -> Result<AskedColumns, DataError> {
    let mut open = Open {
        path,
        header,
        taken: vec![false; header.names.len()],
    };
    let choice = &reading.columns;
    let chosen = [&choice.src, &choice.dst, &choice.time];
    let mut found = [None; 3];
    for ((found, name), (key, role)) in found.iter_mut().zip(chosen).zip([
        ("src", Role::Source),
        ("dst", Role::Destination),
        ("time", Role::Time),
    ]) {
        *found = match name {
            Some(name) => Some(open.take(name, key)?),
            None => open.find(role)?,
        };
    }
    let by_position = !header.named && found[..2] == [None; 2] && header.names.len() >= 2;
    if by_position {
        found = [
            Some(0),
            Some(1),
            found[2].or((header.names.len() > 2).then_some(2)),
        ];
    }
    match found {
        [Some(src), Some(dst), time] => Ok(AskedColumns {
            src,
            dst: Some(dst),
            time,
            destinations: false,
        }),
        // Pairs may do without a time.
        [src, dst, time] => Err(open.incomplete([src, dst, time.or(Some(0))])),
    }
}

/// The column of a table of nodes: the first.
pub(crate) fn nodes(header: &Header) -> AskedColumns {
    let name = header.names.first().filter(|_| header.named);
    AskedColumns {
        src: 0,
        dst: None,
        time: None,
        destinations: name.is_some_and(|name| role(name) == Some(Role::Destination)),
    }
}

/// Whether a name is that of a column of nodes, rather than of a node.
pub(crate) fn is_node(name: &str) -> bool {
    let known = matches!(role(name), Some(Role::Source | Role::Destination));
    known || ["node", "nodes", "nodeid", "id"].contains(&plain(name).as_str())
}

/// Columns still without a role.
struct Open<'a> {
    path: &'a Path,
    header: &'a Header,
    taken: Vec<bool>,
}

impl Schema {
    /// See the module.
    ///
    /// # Errors
    /// Names which columns there are, and the `--columns` to give.
    pub(crate) fn of(
        path: &Path,
        header: &Header,
        layout: Layout,
        reading: &Reading,
    ) -> Result<Schema, DataError> {
        let choice = &reading.columns;
        let mut open = Open {
            path,
            header,
            taken: vec![false; header.names.len()],
        };
        let mut left_out = Vec::new();
        for name in &choice.ignore {
            left_out.push((open.take(name, "ignore")?, "as asked".to_owned()));
        }
        let chosen = [
            &choice.src,
            &choice.dst,
            &choice.time,
            &choice.label,
            &choice.split,
        ]
        .into_iter()
        .zip(["src", "dst", "time", "label", "split"])
        .map(|(name, key)| name.as_ref().map(|name| open.take(name, key)).transpose())
        .collect::<Result<Vec<_>, _>>()?;
        let mut features = |names: &Vec<String>| -> Result<Vec<usize>, DataError> {
            (names.iter().map(|name| open.take(name, "features"))).collect()
        };
        let chosen_features = choice.features.as_ref().map(&mut features).transpose()?;
        let [src, dst, time] = open.events([chosen[0], chosen[1], chosen[2]], layout)?;
        let label = match chosen[3] {
            None if header.named => open.find(Role::Label)?,
            None => open.at(layout.label),
            chosen => chosen,
        };
        let split = match chosen[4] {
            None => open.find(Role::Split)?,
            chosen => chosen,
        };
        let (event_id, indices) = open.event_id()?;
        left_out.extend(indices);
        left_out.extend(open.unread()?);
        let names = &header.names;
        let rest = open.left();
        let is_chosen = chosen_features.is_some();
        if is_chosen {
            let why = "not among the features= asked for";
            left_out.extend(rest.iter().map(|&at| (at, why.to_owned())));
        }
        let two_spaces = match reading.bipartite {
            Bipartite::Yes => true,
            Bipartite::No => false,
            Bipartite::Auto => layout.two_kinds || two_kinds(&names[src], &names[dst]),
        };
        Ok(Schema {
            src,
            dst,
            time,
            label,
            split,
            event_id,
            candidates: chosen_features.unwrap_or(rest),
            chosen_features: is_chosen,
            chosen_label: chosen[3].is_some(),
            left_out,
            two_spaces,
            named: header.named,
            names: header.names.clone(),
        })
    }

    /// The name of a column, as messages have it.
    pub(crate) fn title(&self, column: usize) -> String {
        title(&self.names, column, self.named)
    }

    /// The order of the features among columns that proved to be numbers: that of the file, or of
    /// the choice, but `feat_2` before `feat_10` if all are called so.
    pub(crate) fn in_order(&self, mut columns: Vec<usize>) -> Vec<usize> {
        let number = |at: usize| feature_number(&self.names[at]);
        let mut numbers: Vec<Option<usize>> = columns.iter().map(|&at| number(at)).collect();
        numbers.sort_unstable();
        let all = !self.chosen_features && numbers.iter().all(Option::is_some);
        if all && numbers.windows(2).all(|pair| pair[0] != pair[1]) {
            columns.sort_by_key(|&at| number(at));
        }
        columns
    }

    /// What `--columns` would say the same; `features` are the candidates that became features,
    /// `label` says whether that column was read.
    pub(crate) fn as_choice(&self, features: &[usize], label: bool) -> String {
        let name = |at: usize| {
            let name = &self.names[at];
            let alone = self.names.iter().filter(|other| *other == name).count() == 1;
            match alone && !name.is_empty() && !name.contains(['+', ',', '=']) {
                true => name.clone(),
                false => (at + 1).to_string(),
            }
        };
        let mut parts = vec![
            format!("src={}", name(self.src)),
            format!("dst={}", name(self.dst)),
            format!("time={}", name(self.time)),
        ];
        parts.extend((self.label.filter(|_| label)).map(|at| format!("label={}", name(at))));
        parts.extend(self.split.map(|at| format!("split={}", name(at))));
        let features: Vec<String> = features.iter().map(|&at| name(at)).collect();
        parts.push(format!("features={}", features.join("+")));
        parts.join(",")
    }
}

impl Open<'_> {
    /// Columns without a role.
    fn left(&self) -> Vec<usize> {
        (0..self.taken.len())
            .filter(|&at| !self.taken[at])
            .collect()
    }

    /// Takes the column at a position, if there is one.
    fn at(&mut self, position: Option<usize>) -> Option<usize> {
        let at = position.filter(|&at| self.taken.get(at) == Some(&false))?;
        self.taken[at] = true;
        Some(at)
    }

    /// Takes a column that was chosen by hand.
    fn take(&mut self, name: &str, key: &str) -> Result<usize, DataError> {
        let names = &self.header.names;
        let same = |exact: bool| -> Vec<usize> {
            let equal = |n: &String| {
                if exact {
                    n == name
                } else {
                    plain(n) == plain(name)
                }
            };
            (0..names.len()).filter(|&at| equal(&names[at])).collect()
        };
        let mut found = same(true);
        if found.is_empty() {
            found = same(false);
        }
        if found.is_empty()
            && let Ok(number @ 1..) = name.parse::<usize>()
            && number <= names.len()
        {
            found.push(number - 1);
        }
        let refuse = |problem: String| {
            DataError::Option(format!(
                "--columns {key}={}: {} has {problem}; its columns: {}",
                shortened(name, 60),
                self.path.display(),
                list(names)
            ))
        };
        match found.as_slice() {
            [] => Err(refuse("no such column".to_owned())),
            [at] if self.taken[*at] => {
                Err(refuse("one such column, which is chosen twice".to_owned()))
            }
            [at] => {
                self.taken[*at] = true;
                Ok(*at)
            }
            [one, other, ..] => Err(refuse(format!(
                "two such columns, numbers {} and {}; give a number",
                one + 1,
                other + 1
            ))),
        }
    }

    /// Takes the column of a role that its name gives, if there is one.
    fn find(&mut self, wanted: Role) -> Result<Option<usize>, DataError> {
        if !self.header.named {
            return Ok(None);
        }
        let names = &self.header.names;
        let found: Vec<usize> = (self.left().into_iter())
            .filter(|&at| role(&names[at]) == Some(wanted))
            .collect();
        match found.as_slice() {
            [] => Ok(None),
            [at] => {
                self.taken[*at] = true;
                Ok(Some(*at))
            }
            [one, other, ..] => {
                let key = match wanted {
                    Role::Source => "src",
                    Role::Destination => "dst",
                    Role::Time => "time",
                    Role::Label => "label",
                    Role::Split => "split",
                    Role::EventId | Role::InductiveSplit => "ignore",
                };
                Err(DataError::format(
                    self.path,
                    format!(
                        "the columns `{}` and `{}` can both be the {}",
                        names[*one],
                        names[*other],
                        wanted.title()
                    ),
                    format!("say which with --columns {key}={}", names[*other]),
                ))
            }
        }
    }

    /// The column of the events' numbers, if there is one. Takes all row indices; why none of these
    /// columns is a feature.
    #[expect(
        clippy::type_complexity,
        reason = "columns with reasons, as elsewhere here"
    )]
    fn event_id(&mut self) -> Result<(Option<usize>, Vec<(usize, String)>), DataError> {
        let mut event_id = self.find(Role::EventId)?;
        let mut left_out: Vec<(usize, String)> = (event_id.iter())
            .map(|&at| (at, "the events' numbers".to_owned()))
            .collect();
        for at in self.left() {
            if self.header.named && is_index(&self.header.names[at], at == 0) {
                self.taken[at] = true;
                event_id = event_id.or((at == 0).then_some(at));
                left_out.push((at, "row numbers, as pandas writes them".to_owned()));
            }
        }
        Ok((event_id, left_out))
    }

    /// Takes the columns that have a meaning and no use; why each is not read.
    fn unread(&mut self) -> Result<Vec<(usize, String)>, DataError> {
        let mut unread = Vec::new();
        if self.header.row_names {
            let why = "rows have one field more than the header has names: the first is taken for the \
                       name of its row, as R writes it; if a name is missing, put it there";
            unread.push((0, why.to_owned()));
        }
        if let Some(at) = self.find(Role::InductiveSplit)? {
            unread.push((at, "TGL's inductive split is not read".to_owned()));
        }
        Ok(unread)
    }

    /// Source, destination and time.
    fn events(
        &mut self,
        chosen: [Option<usize>; 3],
        layout: Layout,
    ) -> Result<[usize; 3], DataError> {
        if let [Some(src), Some(dst), Some(time)] = chosen {
            return Ok([src, dst, time]);
        }
        let none = chosen == [None; 3];
        if none
            && self.header.named
            && let Some(wanted) = layout.names
        {
            let at = wanted.map(|name| {
                self.header
                    .names
                    .iter()
                    .position(|n| plain(n) == plain(name))
            });
            if let [Some(src), Some(dst), Some(time)] = at {
                [src, dst, time]
                    .into_iter()
                    .for_each(|at| self.taken[at] = true);
                return Ok([src, dst, time]);
            }
        }
        let mut found = chosen;
        if self.header.named {
            for (found, role) in found
                .iter_mut()
                .zip([Role::Source, Role::Destination, Role::Time])
            {
                if found.is_none() {
                    *found = self.find(role)?;
                }
            }
        }
        if let [Some(src), Some(dst), Some(time)] = found {
            return Ok([src, dst, time]);
        }
        if let (true, Some(positions)) = (none, layout.positions)
            && self.by_position(found, positions)
        {
            positions.into_iter().for_each(|at| self.taken[at] = true);
            return Ok(positions);
        }
        Err(self.incomplete(found))
    }

    /// Whether positions may count: there are enough columns, and no name says otherwise.
    fn by_position(&self, found: [Option<usize>; 3], positions: [usize; 3]) -> bool {
        let enough = positions.iter().all(|&at| at < self.header.names.len());
        enough && (found.iter().zip(positions)).all(|(found, at)| found.is_none_or(|f| f == at))
    }

    fn incomplete(&self, found: [Option<usize>; 3]) -> DataError {
        let names = &self.header.names;
        let roles = [Role::Source, Role::Destination, Role::Time];
        let keys = ["src", "dst", "time"];
        let example: Vec<String> = (found.iter().zip(keys))
            .map(|(at, key)| format!("{key}={}", at.map_or("COLUMN", |at| names[at].as_str())))
            .collect();
        let missing: Vec<&str> = (found.iter().zip(roles))
            .filter(|(at, _)| at.is_none())
            .map(|(_, role)| role.title())
            .collect();
        let (found, more) = match self.header.named {
            true => (
                format!(
                    "no column is recognised by name as the {} (columns: {})",
                    missing.join(", the "),
                    list(names)
                ),
                "; if the first line is an event and no header: --no-header",
            ),
            false => (
                format!("{} columns without names", names.len()),
                ", with numbers of columns from 1 on",
            ),
        };
        let remedy = format!("say which it is with --columns {}{more}", example.join(","));
        DataError::format(self.path, found, remedy)
    }
}

/// The names of columns for a message, the first twelve.
fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = (names.iter().take(12))
        .map(|name| quoted(name.as_bytes()))
        .collect();
    if names.len() > shown.len() {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

fn title(names: &[String], column: usize, named: bool) -> String {
    match names.get(column).filter(|name| named && !name.is_empty()) {
        Some(name) => quoted(name.as_bytes()),
        None => format!("column {}", column + 1),
    }
}

/// Where the features begin of rows with `found` fields, if the header names them all as one.
pub(crate) fn rest_of(names: &[String], found: usize) -> Option<usize> {
    let last = names.len().checked_sub(1)?;
    let jodie = ["userid", "itemid", "timestamp", "statelabel"];
    let jodie = last == 4 && names.iter().map(|name| plain(name)).take(4).eq(jodie);
    (is_rest(&names[last]) || (jodie && found != names.len())).then_some(last)
}

#[cfg(test)]
mod tests;
