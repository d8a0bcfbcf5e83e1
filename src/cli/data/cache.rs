//! `mspipe data cache`: what conversions are kept, and what interrupted ones left.

use std::path::Path;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use mspipe_datasets::cache::{Cache, CachedStore, Unfinished};

use mspipe::console;

pub(super) const EXAMPLES: &str = "\
Examples:
  mspipe data cache
  mspipe data cache --clear
  mspipe data cache --clear wikipedia
  mspipe data cache --clear wikipedia-0123456789abcdef.mspipe";

/// Arguments of `mspipe data cache`.
#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    /// Remove the conversions called NAME (in full, or the stream's name alone), without names all,
    /// and what interrupted ones left.
    #[arg(long, value_name = "NAME", num_args = 0..)]
    clear: Option<Vec<String>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists what is in `folder`, or removes it.
pub(super) fn run(args: CacheArgs, folder: &Path) -> anyhow::Result<()> {
    let cache = Cache::list(folder);
    let (cache, what) = match &args.clear {
        Some(names) => (cache.clear(names)?, "removed"),
        None => (cache, "kept"),
    };
    match args.json {
        true => Ok(console::json(&cache)?),
        false => Ok(console::product(table(&cache, what))?),
    }
}

/// What of the cache is `kept`, or was `removed`.
fn table(cache: &Cache, what: &str) -> String {
    let mut text = String::new();
    for CachedStore {
        name,
        bytes,
        events,
        origin,
    } in &cache.stores
    {
        let content = match (events, origin) {
            (Some(events), Some(origin)) => {
                format!("{} events of {origin}", HumanCount(*events as u64))
            }
            _ => "of another version, or damaged: not used".to_owned(),
        };
        text += &format!(
            "{:>12}  {name}  {content}\n",
            HumanBytes(*bytes).to_string()
        );
    }
    for Unfinished {
        name,
        bytes,
        left_behind,
    } in &cache.unfinished
    {
        let state = match left_behind {
            true => "left by a program that is gone",
            false => "under way",
        };
        text += &format!("{:>12}  {name}  {state}\n", HumanBytes(*bytes).to_string());
    }
    text + &format!(
        "{:>12}  {what} in {} (MSPIPE_CACHE_DIR or --cache-dir)\n",
        HumanBytes(cache.bytes()).to_string(),
        cache.folder.display()
    )
}
