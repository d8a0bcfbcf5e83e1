//! The shape of the source: who imports whom, no circles, module docs, one build of burn.
//!
//! The check of imports reads text, not syntax: paths that start with `crate::`, `mspipe::` or a
//! watched crate, and `super::` chains that reach the crate's root. Macros are not expanded.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

mod circles;

/// Every module of `src/` and what it may import: modules of the project, and the two crates that
/// only some layers may know. `burn` stands for all crates that reach a device.
///
/// A module may always import itself. The order is from the bottom up: nobody may import a module
/// that comes later.
#[rustfmt::skip]
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // How people give and read numbers.
    ("numbers", &[]),
    ("parallel", &[]),
    ("graph", &[]),
    ("sampling", &["parallel", "graph"]),
    ("batch", &["parallel", "graph", "sampling"]),
    ("pipeline", &[]),
    // Rank to rank: it knows nothing of what is exchanged.
    ("ranks", &[]),
    ("what_if", &["pipeline"]),
    ("report", &["numbers", "pipeline", "ranks", "what_if", "mspipe_datasets"]),
    ("checkpoint", &["mspipe_datasets"]),
    ("profiler", &["parallel", "pipeline", "burn"]),
    ("kernels", &["parallel", "batch", "profiler", "burn"]),
    ("device", &["parallel", "kernels", "burn"]),
    ("features", &["parallel", "graph", "batch", "kernels", "device", "mspipe_datasets", "burn"]),
    ("memory", &["parallel", "graph", "batch", "checkpoint", "kernels", "device", "burn"]),
    // `sampling` for its counter-based random numbers.
    ("model", &["graph", "sampling", "batch", "kernels", "device", "burn"]),
    // `burn` for its f16 and bf16, `mspipe_datasets` for its pickle machine and whole files.
    ("weights", &["checkpoint", "model", "mspipe_datasets", "burn"]),
    // `sampling` for its counter-based random numbers.
    ("eval", &["graph", "sampling", "batch", "mspipe_datasets"]),
    // Knows what it audits only by a trait.
    ("audit", &["graph", "sampling", "mspipe_datasets"]),
    ("train", &["parallel", "graph", "sampling", "batch", "pipeline", "ranks", "checkpoint", "profiler", "kernels", "device", "features", "memory", "model", "eval", "mspipe_datasets", "burn"]),
    ("config", &["numbers", "batch", "pipeline", "ranks", "checkpoint", "device", "features", "memory", "model", "eval", "train", "mspipe_datasets"]),
    ("run_folder", &["numbers", "pipeline", "ranks", "report", "checkpoint", "profiler", "model", "weights", "eval", "train", "config", "mspipe_datasets"]),
    // The only module that names concrete types of every layer.
    ("session", &["numbers", "graph", "sampling", "batch", "pipeline", "ranks", "checkpoint", "profiler", "kernels", "device", "features", "memory", "model", "weights", "eval", "audit", "train", "config", "run_folder", "mspipe_datasets", "burn"]),
    ("serve", &["session", "mspipe_datasets"]),
    ("console", &["mspipe_datasets"]),
    ("interrupt", &["console", "mspipe_datasets"]),
    ("cli", &["numbers", "console", "interrupt", "pipeline", "ranks", "what_if", "checkpoint", "device", "eval", "audit", "weights", "train", "config", "report", "run_folder", "session", "serve", "mspipe_datasets"]),
    ("main", &["cli", "device"]),
];

/// First segment of a path outside the crate, and the name it has in [`MAY_IMPORT`].
const WATCHED_CRATES: &[(&str, &str)] = &[
    ("mspipe_datasets", "mspipe_datasets"),
    ("burn", "burn"),
    ("burn_cubecl", "burn"),
    ("burn_wgpu", "burn"),
    ("wgpu", "burn"),
];

/// Words that mark unfinished work in a comment.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// A source file, its path relative to the workspace with `/` on every system.
struct Source {
    path: String,
    text: String,
}

/// All `.rs` and `.wgsl` files of the workspace.
fn sources() -> Vec<Source> {
    fn collect(folder: &Path, path: &str, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{path}/{name}");
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &path, found);
            } else if name.ends_with(".rs") || name.ends_with(".wgsl") {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    let root = Path::new(".");
    let mut found = Vec::new();
    for folder in [
        "src",
        "shaders",
        "tests",
        "examples",
        "datasets",
        "bench-harness",
        "python/src",
        "fuzz/src",
        "fuzz/fuzz_targets",
    ] {
        collect(&root.join(folder), folder, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What a file imports, with line numbers; `depth` is how many `super::` reach the crate's root.
fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    let code: Vec<&str> = text.lines().map(|line| split_comment(line).0).collect();
    let code = code.join("\n");
    let starts_path =
        |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();

    for head in ["crate::", "mspipe::"] {
        for (at, _) in code.match_indices(head).filter(|(at, _)| starts_path(*at)) {
            let names = first_segments(&code[at + head.len()..]);
            found.extend(names.into_iter().map(|name| (line_of(at), name.to_owned())));
        }
    }
    for (at, _) in code
        .match_indices("super::")
        .filter(|(at, _)| starts_path(*at))
    {
        let mut rest = &code[at..];
        let mut supers = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, supers) = (after, supers + 1);
        }
        // A chain that stops below the root names a neighbour, unless that has a module's name.
        if supers >= depth {
            let modules = first_segments(rest)
                .into_iter()
                .filter(|name| allowed(name).is_some());
            found.extend(modules.map(|name| (line_of(at), name.to_owned())));
        }
    }
    for (krate, name) in WATCHED_CRATES {
        let head = format!("{krate}::");
        for (at, _) in code.match_indices(&head).filter(|(at, _)| starts_path(*at)) {
            found.push((line_of(at), (*name).to_owned()));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Names after `crate::`: one, or those of a `{…}` group.
fn first_segments(rest: &str) -> Vec<&str> {
    let name = |text: &str| {
        text.find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(text.len())
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![&rest[..name(rest)]];
    };
    let (mut nesting, mut start, mut names) = (1, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' => nesting -= 1,
            _ => {}
        }
        if nesting == 0 || (nesting == 1 && c == ',') {
            let item = group[start..at].trim_start();
            names.push(&item[..name(item)]);
            start = at + 1;
        }
        if nesting == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty() && *name != "self");
    names
}

/// A line before and from its `//`.
fn split_comment(line: &str) -> (&str, &str) {
    line.split_at(line.find("//").unwrap_or(line.len()))
}

fn allowed(module: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, allowed)| *allowed)
}

/// Imports of `src/…` that [`MAY_IMPORT`] does not allow.
fn forbidden_imports(source: &Source) -> Vec<String> {
    let path = &source.path;
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let module = inside.split('/').next().unwrap();
    if module == "lib" {
        return Vec::new();
    }
    let Some(allowed) = allowed(module) else {
        return vec![format!(
            "{path}:1: module {module} isn't in MAY_IMPORT of tests/architecture.rs; add it"
        )];
    };
    imports(&source.text, inside.split('/').count())
        .into_iter()
        .filter(|(_, name)| name != module && !allowed.contains(&name.as_str()))
        .map(|(line, name)| {
            let allowed = match allowed {
                [] => "nothing".to_owned(),
                some => some.join(", "),
            };
            format!("{path}:{line}: module {module} may not import {name} (allowed: {allowed})")
        })
        .collect()
}

/// Faults of any file: missing docs, `mod.rs`, unfinished work.
fn faults(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut found = Vec::new();
    let first = text.lines().find(|line| !line.is_empty()).unwrap_or("");
    if path.ends_with(".rs") && !first.starts_with("//!") {
        found.push(format!(
            "{path}:1: begin with `//!`: what it is, its invariants, its limits"
        ));
    }
    if path.ends_with(".wgsl") && !first.starts_with("//") {
        found.push(format!(
            "{path}:1: begin with `//`: what the shader computes"
        ));
    }
    if path.ends_with("/mod.rs") {
        found.push(format!(
            "{path}:1: a module root is `name.rs` beside the folder `name/`"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let comment = split_comment(line).1;
        for word in UNFINISHED.iter().filter(|word| comment.contains(**word)) {
            let line = number + 1;
            found.push(format!(
                "{path}:{line}: {word}: finish it, or open an issue"
            ));
        }
    }
    found
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let sources = sources();
    let found: Vec<String> = sources
        .iter()
        .filter(|source| source.path.starts_with("src/"))
        .flat_map(forbidden_imports)
        .collect();
    assert_none(&found);
}

#[test]
fn the_table_has_no_cycle() {
    for (at, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for name in *allowed {
            let earlier = MAY_IMPORT[..at].iter().any(|(earlier, _)| earlier == name);
            let watched = WATCHED_CRATES.iter().any(|(_, krate)| krate == name);
            assert!(earlier || watched, "{module}: {name} must come before it");
        }
    }
}

/// Errors whose message leaves the cause to whoever prints the chain, or that say it in both places.
fn causes_beside_the_message(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut found = Vec::new();
    for (at, _) in text.match_indices("#[error(") {
        let rest = &text[at..];
        let variant = rest[1..]
            .find("#[error(")
            .map_or(rest, |next| &rest[..=next]);
        let variant = variant.split("\n}").next().unwrap_or(variant);
        let has_cause = ["#[from]", "#[source]", " source: "]
            .iter()
            .any(|mark| variant.contains(mark));
        if has_cause && !variant.starts_with("#[error(transparent)]") {
            let line = text[..at].matches('\n').count() + 1;
            found.push(format!(
                "{path}:{line}: an error says its cause in its own message, once ({{error}}), and has no \
                 `source` beside it: it is printed alone as well as in a chain"
            ));
        }
    }
    found
}

#[test]
fn errors_say_their_cause_once_however_they_are_printed() {
    let of = |text: &str| {
        let (path, text) = (String::new(), text.to_owned());
        causes_beside_the_message(&Source { path, text }).len()
    };
    assert_eq!(of("#[error(\"a: {source}\")]\nA { source: E },\n}"), 1);
    assert_eq!(of("#[error(\"a\")]\nA { source: E },\n}"), 1);
    assert_eq!(of("#[error(\"a: {0}\")]\nA(#[from] E),\n}"), 1);
    assert_eq!(
        of("#[error(\"a: {0}\")]\nA(E),\n#[error(transparent)]\nB(#[from] E),\n}"),
        0
    );
    let sources = sources();
    let program = sources
        .iter()
        .filter(|source| !source.path.starts_with("tests/"));
    let found: Vec<String> = program.flat_map(causes_beside_the_message).collect();
    assert_none(&found);
}

#[test]
fn files_are_documented_and_finished() {
    let found: Vec<String> = sources().iter().flat_map(faults).collect();
    assert_none(&found);
}

/// A tag can be moved to other code; a commit can't.
#[test]
fn workflows_name_actions_by_commit() {
    let folder = Path::new(".github/workflows");
    let mut actions = 0;
    for entry in fs::read_dir(folder).expect("workflows") {
        let path = entry.expect("workflow").path();
        let text = fs::read_to_string(&path).expect("text");
        for (line, action) in text.lines().enumerate().filter_map(|(index, line)| {
            Some((
                index + 1,
                line.trim_start_matches([' ', '-'])
                    .strip_prefix("uses:")?
                    .trim(),
            ))
        }) {
            let commit = action.split_once('@').map_or("", |(_, rest)| rest);
            let digits = commit.chars().take_while(char::is_ascii_hexdigit).count();
            assert!(
                digits == 40 && commit[40..].starts_with(" # v"),
                "{}:{line}: {action}: not pinned by a commit with its version beside it",
                path.display()
            );
            actions += 1;
        }
    }
    assert!(actions > 0, "no action found");
}

/// Archives, installers and `cargo binstall` are of use only where the packages say where they lie: RELEASING.md.
#[cfg(unix)]
#[test]
fn nothing_is_released_from_nowhere() {
    let root = Path::new(".");
    let output = Command::new(root.join("scripts/releasable"))
        .args(["--tag", "v0.0.0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let manifests = ["", "datasets/", "tests/", "bench-harness/", "python/"];
    for manifest in manifests.map(|folder| format!("{folder}Cargo.toml")) {
        let text = fs::read_to_string(root.join(&manifest)).expect("text");
        let has = (text.lines()).any(|line| line == "repository.workspace = true");
        let refused = format!("{manifest}: the package has no repository");
        assert_eq!(said.contains(&refused), !has, "{said}");
    }
    for refused in ["expected that of the tag v0.0.0", "no section '## [0.0.0]"] {
        assert!(said.contains(refused), "{said}");
    }
}

/// cargo compiles a package once for each set of features, and burn takes 12 minutes: what
/// `cargo run` selects must be what tests and benchmarks select.
#[test]
fn run_test_and_bench_share_one_build_of_burn() {
    let packages = |arguments: &[&str]| -> BTreeSet<String> {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--prefix", "none"])
            .args(["--format", "{p} with {f}"])
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "cargo tree {arguments:?}: {errors}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .collect()
    };
    let run = packages(&["-p", "mspipe", "-e", "normal,build"]);
    assert!(run.iter().any(|package| package.starts_with("burn v")));
    let selections: [&[&str]; 4] = [
        &["--workspace"],
        &["-p", "mspipe"],
        &["-p", "mspipe-bench"],
        &["-p", "mspipe-python"],
    ];
    for selection in selections {
        let tested = packages(&[selection, &["-e", "normal,build,dev"]].concat());
        let built_again: Vec<String> = run
            .difference(&tested)
            .map(|package| format!("{package}: other features in tests of {selection:?}"))
            .collect();
        assert_none(&built_again);
    }
}

/// `mspipe` of the workspace is without its default features, so that it can be built for the CPU alone: who depends
/// on it and does not pass them on makes a program without GPUs, and a build of the whole workspace hides it.
#[test]
fn who_depends_on_mspipe_has_its_default_features_by_default() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--no-deps"])
        .args(["--format-version", "1"])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let depends = |package: &&serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().any(|of| of["name"] == "mspipe")
    };
    let dependents: Vec<_> = packages.iter().filter(depends).collect();
    assert!(dependents.len() >= 2, "{dependents:?}");
    for package in dependents {
        let default = package["features"]["default"].as_array();
        let passed_on = default.is_some_and(|all| all.iter().any(|of| of == "mspipe/default"));
        let name = &package["name"];
        assert!(
            passed_on,
            "{name}: its Cargo.toml needs [features] default = [\"mspipe/default\"]"
        );
    }
}

mod checker {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        forbidden_imports(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn names_line_modules_and_what_is_allowed() {
        assert_eq!(
            check(
                "src/sampling/recent.rs",
                "use crate::graph::Tcsr;\nuse crate::batch::Mfg;\n"
            ),
            [
                "src/sampling/recent.rs:2: module sampling may not import batch (allowed: parallel, graph)"
            ]
        );
        assert_eq!(
            check("src/pipeline.rs", "fn f() { crate::train::run() }"),
            ["src/pipeline.rs:1: module pipeline may not import train (allowed: nothing)"]
        );
    }

    #[test]
    fn sees_groups_inline_paths_super_and_crates() {
        let group =
            "use crate::{\n    graph::{NodeId, Tcsr},\n    memory::{self, clock::Clock},\n};\n";
        assert_eq!(check("src/batch/mfg.rs", group).len(), 1);
        assert_eq!(
            check("src/graph/tcsr.rs", "use super::super::kernels::ALL;").len(),
            1
        );
        assert_eq!(check("src/graph.rs", "use super::kernels::ALL;").len(), 1);
        assert_eq!(check("src/graph.rs", "use burn::tensor::Tensor;").len(), 1);
        assert_eq!(
            check("src/kernels.rs", "use mspipe_datasets::EventLog;").len(),
            1
        );
        assert_eq!(
            check("src/cli/train.rs", "use mspipe::kernels::ALL;").len(),
            1
        );
        assert_eq!(
            check("src/batch.rs", "use crate::Root;").len(),
            1,
            "not in the table"
        );
        assert_eq!(check("src/novel.rs", "").len(), 1, "not in the table");
    }

    #[test]
    fn leaves_what_is_no_import() {
        assert_none(&check(
            "src/kernels.rs",
            "//! See [`crate::batch`].\npub(crate) fn f() {}",
        ));
        assert_none(&check(
            "src/kernels/operations/gather_rows.rs",
            "use super::dropout;\nuse crate::kernels::f;",
        ));
        assert_none(&check("src/device.rs", "mod tests {\n    use super::*;\n}"));
        assert_none(&check(
            "src/kernels/flex.rs",
            "use burn::backend::wgpu::CubeTensor;",
        ));
        assert_none(&check("src/lib.rs", "pub use crate::kernels::ALL;"));
    }

    #[test]
    fn finds_undocumented_and_unfinished_files() {
        let faults = |path: &str, text: String| {
            faults(&Source {
                path: path.to_owned(),
                text,
            })
        };
        let doc = "//! A module.\n";
        assert_none(&faults("src/a.rs", doc.to_owned()));
        assert_eq!(faults("src/a.rs", "use std::fs;\n".to_owned()).len(), 1);
        assert_eq!(
            faults("shaders/a.wgsl", "const A: u32 = 1u;\n".to_owned()).len(),
            1
        );
        assert_eq!(faults("src/a/mod.rs", doc.to_owned()).len(), 1);
        for word in UNFINISHED {
            let found = faults("src/a.rs", format!("{doc}fn f() {{}} // {word} later\n"));
            assert_eq!(
                found,
                [format!("src/a.rs:2: {word}: finish it, or open an issue")]
            );
        }
    }
}
