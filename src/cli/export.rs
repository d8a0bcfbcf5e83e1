//! `mspipe export`: the weights of a run, or of a file, as a safetensors file; or the run's state with all
//! that it needs of its stream.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use indicatif::{HumanBytes, HumanCount};
use mspipe::run_folder::weights_of;
use mspipe::session::predict::{LoadOptions, Predictor};
use mspipe::weights::{self, ModelDescription, WeightFile};
use mspipe::{console, interrupt};
use mspipe_datasets::whole_file::{self, Existing};
use serde::Serialize;

use super::update::check_target;

const EXAMPLES: &str = "\
Examples:
  The final weights of a run:
    mspipe export runs/wikipedia-tgn-1 --to tgn.safetensors
  TGL's checkpoint as safetensors (nothing of the pickle is executed):
    mspipe export models/wiki_tgn.pkl --to tgn.safetensors
  All that answers need, to ask the run on another machine without its stream:
    mspipe export runs/wikipedia-tgn-1 --self-contained --to wikipedia.safetensors
    mspipe top-k wikipedia.safetensors --sources 1,2,3
  In Python:
    model.load_state_dict(safetensors.torch.load_file('tgn.safetensors'))

Names and shapes are those of TGL's PyTorch models.";

/// Arguments of `mspipe export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Folder of a run, or a weights file (safetensors; PyTorch's .pkl, .pt, .pth)
    run: PathBuf,

    /// File to write; its name ends with .safetensors
    #[arg(long, value_name = "FILE")]
    to: PathBuf,

    /// Write the run's state with all that it needs of its stream (ends and times of all events, 16 bytes
    /// each, and the features that sampling can still reach) in place of weights alone
    #[arg(long)]
    self_contained: bool,

    /// Where the run's stream is, if it was moved
    #[arg(long, value_name = "PATH|NAME", value_hint = ValueHint::AnyPath, requires = "self_contained")]
    data: Option<String>,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Exported {
    from: PathBuf,
    to: PathBuf,
    bytes: u64,
    model: Option<ModelDescription>,
    /// What every name began with, and does no more; empty mostly.
    prefix: String,
    /// Numbers in all tensors.
    numbers: usize,
    tensors: Vec<ExportedTensor>,
}

#[derive(Debug, Serialize)]
struct ExportedTensor {
    name: String,
    shape: Vec<usize>,
    numbers: usize,
}

/// Reads the weights and writes them.
pub(crate) fn run(args: ExportArgs) -> anyhow::Result<()> {
    check_target(&args.to, args.force)?;
    if args.self_contained {
        return export_state(&args);
    }
    let from = weights_of(&args.run)?;
    if whole_file::is_same(&from, &args.to) {
        bail!(
            "{}: is the file that is read; give another name",
            args.to.display()
        );
    }
    let WeightFile {
        tensors,
        model,
        prefix,
    } = weights::open(&from)?;
    let unfinished = interrupt::stop().unfinished();
    weights::write(&args.to, &tensors, model.as_ref())?;
    drop(unfinished);

    let bytes = std::fs::metadata(&args.to).with_context(|| args.to.display().to_string())?;
    let tensors: Vec<ExportedTensor> = tensors
        .into_iter()
        .map(|(name, tensor)| ExportedTensor {
            name,
            shape: tensor.shape,
            numbers: tensor.values.len(),
        })
        .collect();
    let exported = Exported {
        from,
        to: args.to,
        bytes: bytes.len(),
        model,
        prefix,
        numbers: tensors.iter().map(|tensor| tensor.numbers).sum(),
        tensors,
    };
    if args.json {
        Ok(console::json(&exported)?)
    } else {
        console::news(text(&exported).trim_end());
        Ok(())
    }
}

/// What `--json` prints of a state.
#[derive(Debug, Serialize)]
struct ExportedState {
    from: PathBuf,
    to: PathBuf,
    bytes: u64,
    events: usize,
    nodes: usize,
}

/// Writes a state that needs no stream.
fn export_state(args: &ExportArgs) -> anyhow::Result<()> {
    let options = LoadOptions {
        data: args.data.clone(),
        stop: interrupt::stop(),
        ..LoadOptions::default()
    };
    let predictor = Predictor::load_with(&args.run, &options)?;
    let unfinished = interrupt::stop().unfinished();
    predictor.save(&args.to, true, Existing::forced(args.force))?;
    drop(unfinished);
    let bytes = std::fs::metadata(&args.to).with_context(|| args.to.display().to_string())?;
    let exported = ExportedState {
        from: args.run.clone(),
        to: args.to.clone(),
        bytes: bytes.len(),
        events: predictor.events(),
        nodes: predictor.nodes().count(),
    };
    if args.json {
        return Ok(console::json(&exported)?);
    }
    console::news(format!(
        "written   {} ({}): memory of {} nodes after {} events, and what sampling needs of these",
        exported.to.display(),
        HumanBytes(exported.bytes),
        HumanCount(exported.nodes as u64),
        HumanCount(exported.events as u64)
    ));
    Ok(())
}

fn text(exported: &Exported) -> String {
    let names = exported.tensors.iter().map(|tensor| tensor.name.len());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for ExportedTensor {
        name,
        shape,
        numbers,
    } in &exported.tensors
    {
        let shape = format!("{shape:?}");
        let numbers = HumanCount(*numbers as u64).to_string();
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name:<width$}  {shape:<12}  {numbers:>10}");
    }
    let model = exported.model.as_ref().map_or_else(
        || "model not said by the file".to_owned(),
        |of| {
            format!(
                "{}, width {}, {} layers, {} heads, {} time encoding",
                of.model, of.width, of.layers, of.heads, of.time_encoding
            )
        },
    );
    let _ = writeln!(
        text,
        "\n{} parameters, {} numbers ({model})\nread      {}\nwritten   {} ({})",
        exported.tensors.len(),
        HumanCount(exported.numbers as u64),
        exported.from.display(),
        exported.to.display(),
        HumanBytes(exported.bytes)
    );
    if !exported.prefix.is_empty() {
        let _ = writeln!(text, "{}", weights::prefix_note(&exported.prefix));
    }
    text
}
