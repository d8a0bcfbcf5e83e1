//! The nodes of a stream under the ids of its file: numbers or text, of one kind or of two.
//!
//! Where sources and destinations are nodes of two kinds, an id may name one of each. Nodes that come
//! later are numbered on, so that no row of a table moves.

use std::collections::HashMap;

use mspipe_datasets::{DataError, EventLog, IdSpaces, NodeKey};

use crate::checkpoint::{Arrays, Unfit};
use crate::graph::NodeId;

/// Which end of an event a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Its source.
    Source,
    /// Its destination.
    Destination,
}

/// Ids in the order of the nodes.
#[derive(Debug, Clone)]
enum Keys {
    Numbers(Vec<u64>),
    Texts(Vec<String>),
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    keys: Keys,
    /// Where there are two kinds, whether each node is of the destinations'.
    items: Option<Vec<u8>>,
    /// Whether each node was the destination of an event.
    destination: Vec<u8>,
    /// The nodes by their ids, those of destinations apart where there are two kinds.
    numbers: [HashMap<u64, u32>; 2],
    texts: [HashMap<String, u32>; 2],
    /// Bytes of all texts.
    text_bytes: usize,
}

impl Nodes {
    /// Those of `log`, of whose events the first `events` have happened.
    ///
    /// # Errors
    /// When the names that the store keeps can't be read.
    pub(in crate::session) fn of(log: &EventLog, events: usize) -> Result<Nodes, DataError> {
        let keys = match (log.names()?.nodes, log.original_ids()) {
            (Some(names), _) => Keys::Texts(names),
            (None, Some(ids)) => Keys::Numbers(ids.to_vec()),
            (None, None) => Keys::Numbers((0..log.nodes() as u64).collect()),
        };
        let items = match log.id_spaces() {
            IdSpaces::One => None,
            IdSpaces::Two { sources } => Some(
                (0..log.nodes())
                    .map(|node| u8::from(node >= sources))
                    .collect(),
            ),
        };
        let mut destination = vec![0; log.nodes()];
        for &node in &log.dst()[..events] {
            destination[node as usize] = 1;
        }
        Ok(Nodes::with(keys, items, destination))
    }

    /// Whether the first of them have other ids than these.
    pub(super) fn called_otherwise(&self, these: &Nodes) -> Option<[NodeKey; 2]> {
        let ids = |node| [self, these].map(|of| of.key(NodeId(node)));
        (0..these.len() as u32)
            .map(ids)
            .find(|[here, there]| here != there)
    }

    fn with(keys: Keys, items: Option<Vec<u8>>, destination: Vec<u8>) -> Nodes {
        let mut nodes = Nodes {
            keys,
            items,
            destination,
            numbers: Default::default(),
            texts: Default::default(),
            text_bytes: 0,
        };
        for node in 0..nodes.len() as u32 {
            nodes.index(node);
        }
        nodes
    }

    fn index(&mut self, node: u32) {
        let space = self.items.as_ref().map_or(0, |items| items[node as usize]) as usize;
        match &self.keys {
            Keys::Numbers(keys) => self.numbers[space].insert(keys[node as usize], node),
            Keys::Texts(keys) => {
                let text = keys[node as usize].clone();
                self.text_bytes += text.len();
                self.texts[space].insert(text, node)
            }
        };
    }

    pub(super) fn len(&self) -> usize {
        self.destination.len()
    }

    /// Bytes that they take: each text is there twice.
    pub(super) fn bytes(&self) -> u64 {
        let table = |entries: usize, entry: usize| entries * 8 / 7 * (entry + 1);
        let numbers = self.numbers.iter().map(|of| table(of.capacity(), 16));
        let texts = self.texts.iter().map(|of| table(of.capacity(), 32));
        let keys = match &self.keys {
            Keys::Numbers(keys) => 8 * keys.capacity(),
            Keys::Texts(keys) => 24 * keys.capacity() + 2 * self.text_bytes,
        };
        let marks = self.destination.capacity() + self.items.as_ref().map_or(0, Vec::capacity);
        (numbers.chain(texts).sum::<usize>() + keys + marks) as u64
    }

    /// Whether ids are text.
    pub(in crate::session) fn are_text(&self) -> bool {
        matches!(self.keys, Keys::Texts(_))
    }

    /// Whether sources and destinations are nodes of two kinds.
    pub(super) fn are_two_kinds(&self) -> bool {
        self.items.is_some()
    }

    fn space(&self, side: Side) -> usize {
        usize::from(self.items.is_some() && side == Side::Destination)
    }

    /// The node that `key` names; an error says what ids are.
    pub(super) fn find(&self, key: &NodeKey, side: Side) -> Result<Option<NodeId>, &'static str> {
        let space = self.space(side);
        let node = match (&self.keys, key) {
            (Keys::Numbers(_), NodeKey::Number(number)) => self.numbers[space].get(number),
            (Keys::Numbers(_), NodeKey::Text(text)) => {
                let number = text.parse().map_err(|_| NUMBERS)?;
                self.numbers[space].get(&number)
            }
            (Keys::Texts(_), NodeKey::Text(text)) => self.texts[space].get(text),
            (Keys::Texts(_), NodeKey::Number(number)) => self.texts[space].get(&number.to_string()),
        };
        Ok(node.copied().map(NodeId))
    }

    /// The same, added if there is none.
    pub(super) fn find_or_add(
        &mut self,
        key: &NodeKey,
        side: Side,
    ) -> Result<NodeId, &'static str> {
        if let Some(node) = self.find(key, side)? {
            return Ok(node);
        }
        let node = self.len() as u32;
        match (&mut self.keys, key) {
            (Keys::Numbers(keys), NodeKey::Number(number)) => keys.push(*number),
            (Keys::Numbers(keys), NodeKey::Text(text)) => {
                keys.push(text.parse().map_err(|_| NUMBERS)?);
            }
            (Keys::Texts(keys), key) => keys.push(key.to_string()),
        }
        if let Some(items) = &mut self.items {
            items.push(u8::from(side == Side::Destination));
        }
        self.destination.push(0);
        self.index(node);
        Ok(NodeId(node))
    }

    /// A node has been the destination of an event.
    pub(super) fn mark(&mut self, destination: NodeId) {
        self.destination[destination.index()] = 1;
    }

    /// All that were the destination of an event.
    pub(super) fn destinations(&self) -> impl Iterator<Item = NodeId> {
        let marked = (0..).zip(&self.destination);
        marked
            .filter(|(_, is)| **is == 1)
            .map(|(node, _)| NodeId(node))
    }

    /// The id of a node.
    pub(in crate::session) fn key(&self, node: NodeId) -> NodeKey {
        match &self.keys {
            Keys::Numbers(keys) => NodeKey::Number(keys[node.index()]),
            Keys::Texts(keys) => NodeKey::Text(keys[node.index()].clone()),
        }
    }

    /// Which end of events a node is of, where there are two kinds.
    pub(super) fn side(&self, node: NodeId) -> Option<Side> {
        self.items.as_ref().map(|items| match items[node.index()] {
            0 => Side::Source,
            _ => Side::Destination,
        })
    }
}

/// What an id is where it is a number.
const NUMBERS: &str = "a whole number from 0 to 2^64 - 1, as all ids of the model's stream are";

/// The columns of [`Nodes`] as a file has them.
pub(super) struct SavedNodes {
    numbers: Vec<i64>,
    text: Vec<u8>,
    ends: Vec<i64>,
    items: Option<Vec<u8>>,
    destination: Vec<u8>,
}

impl Nodes {
    /// As a file has them.
    pub(super) fn save(&self) -> SavedNodes {
        let mut saved = SavedNodes {
            numbers: Vec::new(),
            text: Vec::new(),
            ends: Vec::new(),
            items: self.items.clone(),
            destination: self.destination.clone(),
        };
        match &self.keys {
            Keys::Numbers(keys) => saved.numbers = bytemuck::cast_slice(keys).to_vec(),
            Keys::Texts(keys) => {
                for key in keys {
                    saved.text.extend_from_slice(key.as_bytes());
                    saved.ends.push(saved.text.len() as i64);
                }
            }
        }
        saved
    }

    /// Out of the arrays of a file, in which their names begin with nothing else.
    pub(super) fn take(arrays: &mut Arrays<'_>, text: bool, two: bool) -> Result<Nodes, Unfit> {
        let destination: Vec<u8> = arrays.take_column("destination")?;
        let nodes = destination.len();
        let keys = match text {
            false => {
                let numbers: Vec<i64> = arrays.take_shaped("number", &[nodes])?;
                Keys::Numbers(bytemuck::cast_slice(&numbers).to_vec())
            }
            true => {
                let bytes: Vec<u8> = arrays.take_column("text")?;
                let ends: Vec<i64> = arrays.take_shaped("text_end", &[nodes])?;
                Keys::Texts(texts(&bytes, &ends)?)
            }
        };
        let items = two
            .then(|| arrays.take_shaped("item", &[nodes]))
            .transpose()?;
        Ok(Nodes::with(keys, items, destination))
    }
}

fn texts(bytes: &[u8], ends: &[i64]) -> Result<Vec<String>, Unfit> {
    let mut start = 0;
    let text = |&end: &i64| {
        let range = start..usize::try_from(end).ok()?;
        start = range.end;
        std::str::from_utf8(bytes.get(range)?)
            .ok()
            .map(str::to_owned)
    };
    let texts: Option<Vec<String>> = ends.iter().map(text).collect();
    texts.ok_or_else(|| Unfit::Contradiction {
        name: "nodes.text".to_owned(),
        reason: "can't be cut into names".to_owned(),
    })
}

impl SavedNodes {
    /// Adds them to `arrays`.
    pub(super) fn put<'a>(&'a self, arrays: &mut Arrays<'a>) {
        if self.ends.is_empty() {
            arrays.put_column("nodes.number", &self.numbers[..]);
        } else {
            arrays.put_column("nodes.text", &self.text[..]);
            arrays.put_column("nodes.text_end", &self.ends[..]);
        }
        if let Some(items) = &self.items {
            arrays.put_column("nodes.item", &items[..]);
        }
        arrays.put_column("nodes.destination", &self.destination[..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_kinds(keys: Keys) -> Nodes {
        Nodes::with(keys, Some(vec![0, 0, 1]), vec![0, 0, 1])
    }

    #[test]
    fn an_id_names_a_node_of_its_side() {
        let mut nodes = two_kinds(Keys::Numbers(vec![7, 8, 7]));
        let seven = NodeKey::Number(7);
        assert_eq!(nodes.find(&seven, Side::Source), Ok(Some(NodeId(0))));
        assert_eq!(nodes.find(&seven, Side::Destination), Ok(Some(NodeId(2))));
        assert_eq!(nodes.find(&"8".into(), Side::Source), Ok(Some(NodeId(1))));
        assert_eq!(nodes.find(&"8".into(), Side::Destination), Ok(None));
        assert_eq!(nodes.find(&"x".into(), Side::Source), Err(NUMBERS));
        let added = nodes.find_or_add(&"8".into(), Side::Destination);
        assert_eq!(added, Ok(NodeId(3)));
        assert_eq!(nodes.find(&8u64.into(), Side::Destination), Ok(added.ok()));
        assert_eq!(nodes.side(NodeId(3)), Some(Side::Destination));
        assert_eq!(nodes.destinations().collect::<Vec<_>>(), [NodeId(2)]);
        nodes.mark(NodeId(3));
        assert_eq!(nodes.destinations().count(), 2);
    }

    #[test]
    fn nodes_are_read_back_as_they_were_saved() {
        let text = Keys::Texts(["ä", "b", "ä"].map(str::to_owned).to_vec());
        for (nodes, text) in [
            (two_kinds(text), true),
            (two_kinds(Keys::Numbers(vec![u64::MAX, 0, 3])), false),
        ] {
            let saved = nodes.save();
            let mut arrays = Arrays::default();
            saved.put(&mut arrays);
            let mut group = arrays.take_group("nodes.");
            let read = Nodes::take(&mut group, text, true).unwrap();
            assert_eq!(read.keys_shown(), nodes.keys_shown());
            assert_eq!(read.items, nodes.items);
            assert_eq!(read.destination, nodes.destination);
        }
    }

    impl Nodes {
        fn keys_shown(&self) -> Vec<NodeKey> {
            (0..self.len() as u32)
                .map(|n| self.key(NodeId(n)))
                .collect()
        }
    }
}
