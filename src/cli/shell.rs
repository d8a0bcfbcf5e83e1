//! `mspipe completions` and `mspipe man`: what shells and `man` take, made from the options themselves.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::Resettable;
use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};
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
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,

    /// Replace pages that exist
    #[arg(long, requires = "to")]
    force: bool,
}

/// Prints the completions of `program`.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, "mspipe", &mut text);
    let mut text = String::from_utf8(text)?;
    if args.shell == Shell::Bash {
        complete_places(&mut text, &program, "mspipe");
    }
    Ok(console::product(text)?)
}

/// Has bash complete folders and files where a command takes one as an argument: `clap_complete` has it offer
/// options alone there. To go once that does.
fn complete_places(script: &mut String, command: &Command, name: &str) {
    const OPTIONS: &str = "COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )\n            return 0\n            ;;";
    let hints = command.get_positionals().map(Arg::get_value_hint);
    let place = hints.filter_map(|hint| match hint {
        ValueHint::DirPath => Some("COMPREPLY=()\n            compopt -o plusdirs"),
        ValueHint::AnyPath | ValueHint::FilePath => {
            Some("COMPREPLY=($(compgen -f \"${cur}\"))\n            compopt -o filenames")
        }
        _ => None,
    });
    if let Some(place) = place.last()
        && let Some(begin) = script.find(&format!("\n        {name})\n"))
        && let Some(length) = script[begin..].find(OPTIONS)
    {
        let block = &script[begin..begin + length];
        let block = block.replace(
            "if [[ ${cur} == -* || ${COMP_CWORD} -eq",
            "if [[ ${cur} == -* && ${COMP_CWORD} -ge",
        );
        let place = format!("{place}\n            return 0\n            ;;");
        script.replace_range(begin..begin + length + OPTIONS.len(), &(block + &place));
    }
    for inner in command.get_subcommands() {
        complete_places(
            script,
            inner,
            &format!("{name}__subcmd__{}", inner.get_name()),
        );
    }
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
    // What `-h` leaves out belongs into a page; examples are laid out below.
    let whole = command
        .clone()
        .mut_args(|option| option.hide_short_help(false));
    let whole = whole.after_help(Resettable::Reset);
    let whole = whole.after_long_help(Resettable::Reset);
    let page = clap_mangen::Man::new(whole);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut text = String::from_utf8(text)?;
    let after = command.get_after_long_help().or(command.get_after_help());
    if let Some(after) = after {
        let end = text.rfind(".SH VERSION").unwrap_or(text.len());
        text.insert_str(end, &examples(&after.to_string()));
    }
    let mut all = vec![(page.get_filename(), text)];
    for inner in command.get_subcommands() {
        all.extend(pages(inner)?);
    }
    Ok(all)
}

/// What stands below a command's help as a section: indented lines as they are, since they are to be typed, and
/// paragraphs in lines of the page.
fn examples(after: &str) -> String {
    const TITLE: &str = "Examples:";
    let mut page = Roff::new();
    page.control(
        "SH",
        [if after.starts_with(TITLE) {
            "EXAMPLES"
        } else {
            "NOTES"
        }],
    );
    let mut verbatim = false;
    for line in after.lines().skip_while(|line| *line == TITLE) {
        let is_indented = line.starts_with(' ');
        if !line.is_empty() && is_indented != verbatim {
            page.control(if is_indented { "nf" } else { "fi" }, []);
            verbatim = is_indented;
        }
        match line.is_empty() {
            true if verbatim => page.text([]),
            true => page.control("PP", []),
            false => page.text([roman(line)]),
        };
    }
    if verbatim {
        page.control("fi", []);
    }
    let text = page.render();
    // The page has what stands before it already: how an apostrophe is written.
    text[text.find(".SH").unwrap_or(0)..].to_owned()
}
