//! Writes the seed corpus: `seeds FOLDER` makes `FOLDER/TARGET/NUMBER`.

use std::path::PathBuf;
use std::{env, fs, io};

use mspipe_fuzz::{checkpoint_files, readers, seeds, weight_files};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or("corpus".into()));
    let mut corpus: Vec<(&str, Vec<Vec<u8>>)> = readers::TARGETS
        .iter()
        .map(|target| (target.name, seeds::of(target.name)))
        .collect();
    corpus.push(("weights", weight_files::files()));
    corpus.push(("state_dict", weight_files::pickles()));
    corpus.push(("checkpoint", checkpoint_files::files()));
    for (target, seeds) in corpus {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
