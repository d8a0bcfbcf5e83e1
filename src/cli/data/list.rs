//! `mspipe data list`: what data sets and generators there are.

use std::path::PathBuf;

use indicatif::HumanCount;
use mspipe_datasets::manifest::{Manifest, Statistic};
use mspipe_datasets::{OpenOptions, SyntheticSpec};
use serde::Serialize;

/// What `mspipe data list` shows.
#[derive(Serialize)]
pub(super) struct List {
    data_dir: PathBuf,
    data_sets: Vec<ListedSet>,
    synthetic: Vec<String>,
}

#[derive(Serialize)]
struct ListedSet {
    /// Whether the event file is in the data folder.
    here: bool,
    path: PathBuf,
    #[serde(flatten)]
    manifest: &'static Manifest,
}

/// The data sets and the generators.
pub(super) fn of(folders: &OpenOptions) -> anyhow::Result<List> {
    let data_dir = folders.data_folder()?;
    let data_sets = Manifest::all()
        .iter()
        .map(|manifest| {
            let path = manifest.local_file(&data_dir);
            ListedSet {
                here: path.is_file(),
                path,
                manifest,
            }
        })
        .collect();
    let synthetic = SyntheticSpec::names()
        .map(|name| format!("synthetic:{name}"))
        .collect();
    Ok(List {
        data_dir,
        data_sets,
        synthetic,
    })
}

impl List {
    /// For people.
    pub(super) fn table(&self) -> String {
        let figure = |s: &Statistic| {
            s.value.map_or("unknown".to_owned(), |n| {
                HumanCount(n.unsigned_abs()).to_string()
            })
        };
        let mut text = format!(
            "{:<14} {:>12} {:>8}  {:<5} title\n",
            "name", "events", "nodes", "here"
        );
        for ListedSet { here, manifest, .. } in &self.data_sets {
            text += &format!(
                "{:<14} {:>12} {:>8}  {:<5} {}\n",
                manifest.name,
                figure(&manifest.statistics.events),
                figure(&manifest.statistics.nodes),
                if *here { "yes" } else { "no" },
                manifest.title
            );
        }
        text += &format!(
            "\nData sets are looked for in {} (MSPIPE_DATA_DIR or --data-dir).\n",
            self.data_dir.display()
        );
        text += "Get one with `mspipe data fetch NAME`.\n";
        text += &format!("Generated, no file needed: {}\n", self.synthetic.join(", "));
        text
    }
}
