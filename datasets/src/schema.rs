//! Which column of a table holds what: one rule for text and Parquet.
//!
//! Source, destination and time are known by their names, or by `--columns`, all three or none;
//! positions count only where there is no header at all. Two columns for one role are refused:
//! which one is meant is not guessed. Every other column may be a feature, if its values are
//! numbers, or is named as left out.

use std::fmt;
use std::path::Path;

use crate::error::{DataError, quoted, shortened};
use crate::schema::reading::{Bipartite, ColumnChoice, Like, Reading};

pub(crate) mod names;
pub mod reading;

use names::{Role, feature_number, is_index, is_rest, list_of, plain, role, two_kinds};

/// An end of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Their source.
    Source,
    /// Their destination.
    Destination,
}

impl End {
    /// The end that `text` names.
    pub(crate) fn named(text: &[u8]) -> Option<End> {
        match text {
            b"source" | b"src" => Some(End::Source),
            b"destination" | b"dst" => Some(End::Destination),
            _ => None,
        }
    }

    /// What `--columns` calls its column.
    pub(crate) fn key(self) -> &'static str {
        match self {
            End::Source => "src",
            End::Destination => "dst",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Source => "source",
            End::Destination => "destination",
        })
    }
}

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
    /// Those of the candidates, the first ones, that are features of the stream which the table belongs to:
    /// each must hold numbers.
    pub(crate) expected: Vec<usize>,
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
    /// Which end of events nodes are, as their column's name says.
    pub(crate) end: Option<End>,
    /// The column that says it of each node.
    pub(crate) side: Option<usize>,
}

/// Source, destination and, if there is one, time of pairs: by `--columns`, by the names that the stream's
/// own had, by name, or by position where there are no names.
///
/// # Errors
/// As [`Schema::of`].
pub(crate) fn pairs(
    path: &Path,
    header: &Header,
    reading: &Reading,
) -> Result<AskedColumns, DataError> {
    let mut open = Open::of(path, header);
    let mut found: [Option<usize>; 3] = open.take_chosen(&reading.columns)?;
    open.take_familiar(&mut found, reading.like.as_deref());
    for (found, role) in (found.iter_mut()).zip([Role::Source, Role::Destination, Role::Time]) {
        if found.is_none() {
            *found = open.find(role)?;
        }
    }
    // Of more columns nobody knows what they are.
    let few = (2..=3).contains(&header.names.len()) || reading.no_header;
    if !header.named && found[..2] == [None; 2] && few && header.names.len() >= 2 {
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
            end: None,
            side: None,
        }),
        // Pairs may do without a time.
        [src, dst, _] => Err(open.incomplete(&[src, dst])),
    }
}

/// The column of a table of nodes, which are to be of the end `wanted`, if it matters: by `--columns`, by the
/// names that the stream's own had, or by name; the only one where there is no other. A column `side` says of
/// which end each is, where there are two kinds.
///
/// # Errors
/// As [`Schema::of`].
pub(crate) fn nodes(
    path: &Path,
    header: &Header,
    reading: &Reading,
    wanted: Option<End>,
) -> Result<AskedColumns, DataError> {
    let (src, end) = node_column(path, header, reading, wanted)?;
    let two_kinds = reading.bipartite == Bipartite::Yes;
    if let (true, Some(wanted), Some(end)) = (two_kinds, wanted, end)
        && wanted != end
        && reading.columns == ColumnChoice::default()
    {
        let name = &header.names[src];
        return Err(DataError::format(
            path,
            format!("the column `{name}` is that of {end}s"),
            format!(
                "{wanted}s are asked for; if it holds them: --columns {}={name}; if the first line is a node: --no-header",
                wanted.key()
            ),
        ));
    }
    let side = |at: &usize| *at != src && header.named && plain(&header.names[*at]) == "side";
    Ok(AskedColumns {
        src,
        dst: None,
        time: None,
        end,
        side: (0..header.names.len()).find(|at| two_kinds && side(at)),
    })
}

/// The column that holds nodes, and which end of events its name says they are.
fn node_column(
    path: &Path,
    header: &Header,
    reading: &Reading,
    wanted: Option<End>,
) -> Result<(usize, Option<End>), DataError> {
    let names = &header.names;
    let choice = &reading.columns;
    let ends = [(&choice.src, End::Source), (&choice.dst, End::Destination)];
    let given = |(name, end): (&Option<String>, End)| Some((name.clone()?, end));
    let mut chosen: Vec<(String, End)> = ends.into_iter().filter_map(given).collect();
    if chosen.len() == 2 && wanted.is_some() {
        chosen.retain(|(_, end)| Some(*end) == wanted);
    }
    match &chosen[..] {
        [(name, end)] => return Ok((Open::of(path, header).take(name, end.key())?, Some(*end))),
        [] => {}
        _ => {
            let error = "--columns: found src= and dst=; expected the one that holds the nodes";
            return Err(DataError::Option(error.to_owned()));
        }
    }
    let like = reading.like.as_deref();
    let mut found: Vec<(usize, Option<End>)> = (0..names.len())
        .filter(|_| header.named)
        .filter_map(|at| Some((at, node_name(&names[at], like)?)))
        .collect();
    if let Some(wanted) = wanted {
        let rank = |end: Option<End>| match end {
            Some(end) if end == wanted => 0,
            None => 1,
            Some(_) => 2,
        };
        let best = found.iter().map(|(_, end)| rank(*end)).min();
        found.retain(|(_, end)| Some(rank(*end)) == best);
    }
    let data = (0..names.len()).filter(|&at| !(header.named && is_index(&names[at], at == 0)));
    match (&found[..], &data.collect::<Vec<_>>()[..]) {
        ([one], _) => Ok(*one),
        ([], [one]) => Ok((*one, None)),
        (found, _) => {
            let two = found.len() > 1;
            let problem = match two {
                true => format!("more than one column may hold the nodes ({})", list(names)),
                false if header.named => {
                    format!(
                        "no column is recognised by name as that of nodes ({})",
                        list(names)
                    )
                }
                false => format!(
                    "{} columns, and no name says which holds the nodes",
                    names.len()
                ),
            };
            Err(DataError::format(
                path,
                problem,
                "say which it is with --columns src=COLUMN or dst=COLUMN, by its name in the first line or its \
                 number from 1 on; a name of a node that holds a separator needs quotes",
            ))
        }
    }
}

/// Whether a name is that of a column of nodes, rather than of a node; and of which end, if it says so.
pub(crate) fn node_name(name: &str, like: Option<&Like>) -> Option<Option<End>> {
    let own = |of: &Option<String>| of.as_ref().is_some_and(|of| plain(of) == plain(name));
    match role(name) {
        _ if name.is_empty() => None,
        _ if like.is_some_and(|like| own(&like.columns.src)) => Some(Some(End::Source)),
        _ if like.is_some_and(|like| own(&like.columns.dst)) => Some(Some(End::Destination)),
        Some(Role::Source) => Some(Some(End::Source)),
        Some(Role::Destination) => Some(Some(End::Destination)),
        _ => (["node", "nodes", "nodeid", "id"].contains(&plain(name).as_str())).then_some(None),
    }
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
        let like = reading.like.as_deref();
        let mut open = Open::of(path, header);
        let mut left_out = Vec::new();
        for name in &choice.ignore {
            left_out.push((open.take(name, "ignore")?, "as asked".to_owned()));
        }
        let mut chosen: [Option<usize>; 5] = open.take_chosen(choice)?;
        let mut features = |names: &Vec<String>| -> Result<Vec<usize>, DataError> {
            (names.iter().map(|name| open.take(name, "features"))).collect()
        };
        let mut chosen_features = choice.features.as_ref().map(&mut features).transpose()?;
        let chosen_label = chosen[3].is_some();
        open.take_familiar(&mut chosen, like);
        let (all, expected) = open.familiar_features(choice, like);
        chosen_features = chosen_features.or(all);
        left_out.extend(open.familiar_ignored(like));
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
            candidates: chosen_features.unwrap_or_else(|| [&expected[..], &rest].concat()),
            chosen_features: is_chosen,
            expected,
            chosen_label,
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

    /// Whether a value that is no number is an error in this column, and does not make it one that is left out.
    pub(crate) fn must_hold_numbers(&self, column: usize) -> bool {
        self.chosen_features || self.expected.contains(&column)
    }

    /// The order of the features among columns that proved to be numbers: that of the file, or of
    /// the choice, but `feat_2` before `feat_10` if all are called so.
    pub(crate) fn in_order(&self, mut columns: Vec<usize>) -> Vec<usize> {
        let number = |at: usize| feature_number(&self.names[at]);
        let mut numbers: Vec<Option<usize>> = columns.iter().map(|&at| number(at)).collect();
        numbers.sort_unstable();
        let free = !self.chosen_features && self.expected.is_empty();
        let all = free && numbers.iter().all(Option::is_some);
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

impl<'a> Open<'a> {
    fn of(path: &'a Path, header: &'a Header) -> Open<'a> {
        Open {
            path,
            header,
            taken: vec![false; header.names.len()],
        }
    }

    /// Takes the columns that were chosen by hand as the first of source, destination, time, label and split mark.
    fn take_chosen<const N: usize>(
        &mut self,
        choice: &ColumnChoice,
    ) -> Result<[Option<usize>; N], DataError> {
        let mut chosen = [None; N];
        let names = [
            (&choice.src, "src"),
            (&choice.dst, "dst"),
            (&choice.time, "time"),
            (&choice.label, "label"),
            (&choice.split, "split"),
        ];
        for (chosen, (name, key)) in chosen.iter_mut().zip(names) {
            *chosen = name.as_ref().map(|name| self.take(name, key)).transpose()?;
        }
        Ok(chosen)
    }

    /// Takes the one column that is called `name`, if there is one.
    fn familiar(&mut self, name: &str) -> Option<usize> {
        let names = &self.header.names;
        let open = self.left();
        let one = |same: &dyn Fn(&str) -> bool| {
            let mut found = open.iter().filter(|&&at| same(&names[at]));
            found.next().filter(|_| found.next().is_none()).copied()
        };
        let found = one(&|of| of == name).or_else(|| one(&|of| plain(of) == plain(name)));
        self.at(found)
    }

    /// Takes for those of source, destination, time, label and split mark that are not `found` what the stream
    /// that the table belongs to has chosen by hand.
    fn take_familiar(&mut self, found: &mut [Option<usize>], like: Option<&Like>) {
        let Some(columns) = like.map(|like| &like.columns) else {
            return;
        };
        let chosen = [
            (&columns.src, Role::Source),
            (&columns.dst, Role::Destination),
            (&columns.time, Role::Time),
            (&columns.label, Role::Label),
            (&columns.split, Role::Split),
        ];
        let events = found.len() > 3;
        for (found, (name, wanted)) in found.iter_mut().zip(chosen) {
            let (None, Some(name)) = (*found, name) else {
                continue;
            };
            *found = self.familiar(name);
            // A number says something of events alone, and less than a name.
            let named = || {
                self.left()
                    .into_iter()
                    .any(|at| role(&self.header.names[at]) == Some(wanted))
            };
            if found.is_none() && events && !named() {
                let number = name.parse::<usize>().ok();
                *found = self.at(number.and_then(|number| number.checked_sub(1)));
            }
        }
    }

    /// Takes the features of the stream that the table belongs to, if all of them are there: as all features
    /// where they were chosen by hand, else as the first ones.
    fn familiar_features(
        &mut self,
        choice: &ColumnChoice,
        like: Option<&Like>,
    ) -> (Option<Vec<usize>>, Vec<usize>) {
        let nothing = (None, Vec::new());
        let Some(like) = like.filter(|_| choice.features.is_none()) else {
            return nothing;
        };
        let by_hand = like.columns.features.as_ref();
        let names = match (&like.features[..], by_hand) {
            ([], Some(by_hand)) => by_hand,
            _ => &like.features,
        };
        let before = self.taken.clone();
        match self.familiar_columns(names) {
            Some(places) if by_hand.is_some() => (Some(places), Vec::new()),
            Some(places) => (None, places),
            None => {
                self.taken = before;
                nothing
            }
        }
    }

    /// Takes the columns of features of these names: one that is called so, or the list that it stands in.
    fn familiar_columns(&mut self, names: &[String]) -> Option<Vec<usize>> {
        let (mut places, mut lists) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(at) = self.familiar(name) {
                places.push(at);
                continue;
            }
            let list = list_of(name)?;
            if !lists.contains(&list) {
                places.push(self.familiar(list)?);
                lists.push(list);
            }
        }
        Some(places)
    }

    /// Takes the columns that the stream which the table belongs to leaves out by hand.
    fn familiar_ignored(&mut self, like: Option<&Like>) -> Vec<(usize, String)> {
        let ignored = like.map_or(&[][..], |like| &like.columns.ignore);
        let taken = ignored.iter().filter_map(|name| self.familiar(name));
        taken.map(|at| (at, "as in the run".to_owned())).collect()
    }

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
        Err(self.incomplete(&found))
    }

    /// Whether positions may count: there are enough columns, and no name says otherwise.
    fn by_position(&self, found: [Option<usize>; 3], positions: [usize; 3]) -> bool {
        let enough = positions.iter().all(|&at| at < self.header.names.len());
        enough && (found.iter().zip(positions)).all(|(found, at)| found.is_none_or(|f| f == at))
    }

    /// `found` are source, destination and, where it is needed, time.
    fn incomplete(&self, found: &[Option<usize>]) -> DataError {
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
