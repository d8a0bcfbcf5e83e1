//! Import circles among the files of a crate: files of which each is reached from each other one.
//!
//! File A has an edge to file B when a `use` or a path in A names something that B *defines*: names
//! are followed through modules and re-exports to where they come from. A `mod` line is no edge, and
//! a re-export is one only where the file itself uses the name: a parent that declares its children
//! and passes their names on depends on none of them. Tests don't count, and macros are not expanded.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

/// The file of a module, below the crate's root: `memory`, `host` for `crate::memory::host`.
type Module = Vec<String>;

/// What a `use` or a path says: its segments, and the name that a `use` gives it.
struct Named {
    path: Vec<String>,
    alias: String,
}

/// A file of a crate, read.
#[derive(Default)]
struct File {
    /// `use` lines that keep what they name to the file.
    uses: Vec<Named>,
    /// Those that pass it on.
    reexports: Vec<Named>,
    /// Paths in the code.
    paths: Vec<Vec<String>>,
    /// Names in the code that stand alone.
    bare: BTreeSet<String>,
    /// Children that are tests.
    tests: BTreeSet<String>,
}

/// The words and marks of Rust code, `::` in one piece; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 128;
    let until = |from: usize, end: &str| {
        let length = text[from..].find(end);
        length.map_or(text.len(), |length| from + length + end.len())
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begin = at;
        at += 1;
        match bytes[begin] {
            b'/' if text[begin..].starts_with("//") => at = until(begin, "\n"),
            b'r' if text[begin..].starts_with("r#\"") => at = until(begin + 3, "\"#"),
            b'"' => {
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                at += 1;
            }
            // A character, or else a lifetime.
            b'\'' if text[at..].starts_with('\\') => at = until(at + 2, "'"),
            b'\'' => {
                let mut chars = text[at..].char_indices().skip(1);
                if let Some((end, '\'')) = chars.next() {
                    at += end + 1;
                }
            }
            byte if word(byte) => {
                while at < bytes.len() && word(bytes[at]) {
                    at += 1;
                }
                found.push(&text[begin..at]);
            }
            b':' if text[at..].starts_with(':') => {
                at += 1;
                found.push("::");
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => found.push(&text[begin..at]),
        }
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The place after the bracket that closes the one at `open`.
fn closed(tokens: &[&str], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += i32::from(matches!(*token, "{" | "(" | "["));
        depth -= i32::from(matches!(*token, "}" | ")" | "]"));
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Reads the tree of a `use` at `at`; the place after it is returned.
fn use_tree(tokens: &[&str], mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
    let mut path = before.to_vec();
    loop {
        match tokens[at] {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
        if tokens[at] == "::" {
            at += 1;
            continue;
        }
        let mut alias = path.last().cloned().unwrap_or_default();
        if tokens[at] == "as" {
            alias = tokens[at + 1].to_owned();
            at += 2;
        }
        found.push(Named { path, alias });
        return at;
    }
}

fn read(text: &str) -> File {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let tokens = tokens(text);
    let (mut file, mut at) = (File::default(), 0);
    while at < tokens.len() {
        let token = tokens[at];
        if tokens[at..].starts_with(&TEST) {
            at += TEST.len();
            // Another attribute may stand between, such as `#[cfg(unix)]`.
            let module = tokens[at..]
                .iter()
                .take(8)
                .position(|&token| token == "mod");
            if let Some(module) = module {
                at += module + 1;
                file.tests.insert(tokens[at].to_owned());
                at += 1;
                if tokens[at] == "{" {
                    at = closed(&tokens, at);
                }
            }
        } else if token == "use" {
            let passed_on = at > 0 && matches!(tokens[at - 1], "pub" | ")");
            let found = if passed_on {
                &mut file.reexports
            } else {
                &mut file.uses
            };
            at = use_tree(&tokens, at + 1, &[], found);
        } else if is_name(token) && tokens.get(at + 1) == Some(&"::") {
            let mut path = vec![token.to_owned()];
            while tokens.get(at + 1) == Some(&"::")
                && tokens.get(at + 2).is_some_and(|t| is_name(t))
            {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            file.paths.push(path);
            at += 1;
        } else {
            if is_name(token) && (at == 0 || tokens[at - 1] != ".") {
                file.bare.insert(token.to_owned());
            }
            at += 1;
        }
    }
    file
}

/// The files of a crate by module; the root's is the empty one.
struct Crate(BTreeMap<Module, File>);

impl Crate {
    /// From paths below the crate's folder and the texts.
    fn of<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Crate {
        let module = |path: &str| -> Module {
            match path.trim_end_matches(".rs") {
                "lib" => Vec::new(),
                inside => inside.split('/').map(str::to_owned).collect(),
            }
        };
        let mut files: BTreeMap<Module, File> = sources
            .map(|(path, text)| (module(path), read(text)))
            .collect();
        if !files.contains_key(&Module::new())
            && let Some(main) = files.remove(&vec!["main".to_owned()])
        {
            files.insert(Module::new(), main);
        }
        let tests = files.iter().flat_map(|(module, file)| {
            let children = file.tests.iter();
            children.map(|child| [&module[..], std::slice::from_ref(child)].concat())
        });
        for test in tests.collect::<Vec<_>>() {
            files.retain(|module, _| !module.starts_with(&test));
        }
        Crate(files)
    }

    /// What `path`, written in `from`, is in full: its module's file, and the names below it.
    fn resolve(
        &self,
        from: &Module,
        path: &[String],
        depth: usize,
    ) -> Option<(Module, Vec<String>)> {
        let child = |of: &Module, name: &str| [&of[..], &[name.to_owned()]].concat();
        let file = self.0.get(from)?;
        let mut names = path.iter();
        let first = names.next()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name if self.0.contains_key(&child(from, name)) => child(from, name),
            name => {
                // A name that a `use` has given, where it is more than one word.
                let used = file.uses.iter().find(|used| used.alias == name)?;
                let whole = [&used.path[..], names.as_slice()].concat();
                let itself = used.path[0] == *name || depth > 8;
                return (!itself).then(|| self.resolve(from, &whole, depth + 1))?;
            }
        };
        while let Some(name) = names.next() {
            if name == "super" {
                at.pop();
                continue;
            }
            if self.0.contains_key(&child(&at, name)) {
                at = child(&at, name);
                continue;
            }
            let passed_on = self.0.get(&at)?.reexports.iter();
            let passed_on = passed_on.into_iter().find(|named| named.alias == *name);
            if let Some(named) = passed_on.filter(|_| depth <= 8) {
                let whole = [&named.path[..], names.as_slice()].concat();
                // From another crate, it is this file's.
                return Some(
                    self.resolve(&at, &whole, depth + 1)
                        .unwrap_or((at.clone(), whole)),
                );
            }
            return Some((at, [std::slice::from_ref(name), names.as_slice()].concat()));
        }
        Some((at, Vec::new()))
    }

    /// Which files each file needs.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(module, file): (&'_ Module, &File)| {
            let mut needed = BTreeSet::new();
            let mut need = |path: &[String]| {
                if let Some((target, _)) = self.resolve(module, path, 0) {
                    needed.insert(target);
                }
            };
            for path in &file.paths {
                need(path);
            }
            for named in &file.uses {
                // A module is needed for what is taken out of it: those are paths.
                let whole = self.resolve(module, &named.path, 0);
                if whole.is_some_and(|(_, names)| !names.is_empty()) {
                    need(&named.path);
                }
            }
            for named in &file.reexports {
                if file.bare.contains(&named.alias) {
                    need(&named.path);
                }
            }
            needed.remove(module);
            needed
        };
        self.0
            .iter()
            .map(|(module, file)| (module, of((module, file))))
            .collect()
    }

    /// The circles, each with its files in order.
    fn circles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        // A few hundred files: who reaches whom is soon counted.
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = edges
            .keys()
            .map(|&from| {
                let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
                while let Some(module) = next.pop() {
                    next.extend(edges[module].iter().filter(|to| seen.insert(*to)));
                }
                (from, seen)
            })
            .collect();
        let mut circles = BTreeSet::new();
        for (from, seen) in &reached {
            let both = seen.iter().filter(|to| reached[*to].contains(from));
            let circle: Vec<String> = both.map(|module| module.join("/")).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// The circles of all crates.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["src/", "datasets/src/", "bench-harness/src/", "python/src/"] {
        let inside = sources.iter().filter_map(|source| {
            let path = source.path.strip_prefix(folder)?;
            path.ends_with(".rs").then_some((path, &*source.text))
        });
        let circles = Crate::of(inside).circles();
        found.extend(circles.into_iter().map(|circle| {
            let files = circle.iter().map(|module| format!("{folder}{module}"));
            files.collect::<Vec<_>>().join(", ")
        }));
    }
    found
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let circles = circles(&super::sources());
    super::assert_none(
        &circles
            .iter()
            .map(|circle| format!("these files need each other: {circle}"))
            .collect::<Vec<_>>(),
    );
}

mod counter {
    use super::Crate;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let circles = Crate::of(files.iter().copied()).circles();
        circles.into_iter().map(|circle| circle.join(" ")).collect()
    }

    #[test]
    fn children_that_name_each_other_are_a_circle_however_they_do() {
        let parent = ("a.rs", "mod b; mod c; pub use b::B;");
        let there = ("a/c.rs", "use super::B; pub(super) struct C(B);");
        for back in [
            "use super::c::C; pub struct B(C);",
            "pub struct B(super::c::C);",
            "use crate::a::{c::{self}}; pub struct B(c::C);",
            "use crate::{a::c as other}; pub struct B(other::C);",
        ] {
            assert_eq!(
                circles(&[("lib.rs", "mod a;"), parent, there, ("a/b.rs", back)]),
                ["a/b a/c"]
            );
        }
        for none in [
            "pub struct B; // super::c::C",
            "/// See [`super::c::C`].\npub const B: &str = \"super::c::C\";",
            "pub struct B;\n#[cfg(test)]\nmod tests { use super::super::c::C; }",
            "use super::c; pub struct B;",
        ] {
            let files = [("lib.rs", "mod a;"), parent, there, ("a/b.rs", none)];
            assert_eq!(circles(&files), [""; 0], "{none}");
        }
    }

    #[test]
    fn a_parent_that_only_passes_names_on_is_in_no_circle() {
        let child = ("a/b.rs", "use super::Own; pub struct B(Own);");
        let root = ("lib.rs", "pub mod a;");
        let of = |parent| circles(&[root, ("a.rs", parent), child]);
        assert_eq!(of("mod b; pub use b::B; pub struct Own;"), [""; 0]);
        assert_eq!(
            of("mod b; pub use b::B; pub struct Own; fn f(_: B) {}"),
            ["a a/b"]
        );
        assert_eq!(
            of("mod b; use b::B; pub struct Own; fn f(_: B) {}"),
            ["a a/b"]
        );
        assert_eq!(of("mod b; pub struct Own; fn f() { b::g() }"), ["a a/b"]);
    }
}
