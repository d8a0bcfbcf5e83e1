//! `mspipe completions` and `mspipe man`: what shells and `man` take, made from the options themselves.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use mspipe::console;
use mspipe_datasets::whole_file::{self, Existing};

const COMPLETIONS: &str = "\
Examples:
  bash:
    mspipe completions bash > ~/.local/share/bash-completion/completions/mspipe
  zsh, in a folder of $fpath:
    mspipe completions zsh > ~/.zfunc/_mspipe
  fish:
    mspipe completions fish > ~/.config/fish/completions/mspipe.fish
  PowerShell, at the end of $PROFILE:
    mspipe completions powershell | Out-String | Invoke-Expression";

const MAN: &str = "\
Examples:
  Read a page:
    mspipe man train | man -l -
  Install all of them:
    mspipe man --to ~/.local/share/man/man1";

/// Arguments of `mspipe completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `mspipe man`.
#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct ManArgs {
    /// The command whose page to print, such as train or data import [default: mspipe itself]
    #[arg(conflicts_with = "to")]
    command: Vec<String>,

    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,

    /// Replace pages that exist
    #[arg(long, requires = "to")]
    force: bool,
}

/// Prints the completions of `program`.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, "mspipe", &mut text);
    Ok(console::product(String::from_utf8(text)?)?)
}

/// Prints a page of `program`, or writes all.
pub(crate) fn man(args: &ManArgs, program: Command) -> anyhow::Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let pages = pages(&program)?;
    let Some(folder) = &args.to else {
        let name = [vec!["mspipe".to_owned()], args.command.clone()].concat();
        let name = format!("{}.1", name.join("-"));
        let (_, page) = pages
            .into_iter()
            .find(|(other, _)| *other == name)
            .with_context(|| {
                let command = args.command.join(" ");
                format!("mspipe has no command '{command}'; mspipe -h lists them")
            })?;
        return Ok(console::product(page)?);
    };
    let existing = Existing::forced(args.force);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, _) in &pages {
        whole_file::check(&folder.join(name), existing)?;
    }
    for (name, page) in &pages {
        whole_file::write(&folder.join(name), existing, |file| {
            std::io::Write::write_all(file, page.as_bytes())
        })?;
    }
    console::note(format!("{} pages in {}", pages.len(), folder.display()));
    Ok(())
}

/// The pages of a command and of those below it, each with the name of its file.
fn pages(command: &Command) -> anyhow::Result<Vec<(String, String)>> {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut all = vec![(page.get_filename(), String::from_utf8(text)?)];
    for inner in command.get_subcommands() {
        all.extend(pages(inner)?);
    }
    Ok(all)
}
