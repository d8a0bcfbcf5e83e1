//! `mspipe completions` and `mspipe man`: what shells and `man` take, made from the options themselves.

mod completions;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::Resettable;
use clap::{Args, Command, ValueHint};
use clap_mangen::roff::{Roff, roman};
use mspipe::console;
use mspipe_datasets::whole_file::{self, Existing};

pub(crate) use completions::{CompletionsArgs, completions};

const MAN: &str = "\
Examples:
  Read a page:
    mspipe man train | man -l -
  Install all of them:
    mspipe man --to ~/.local/share/man/man1";

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
    replace_synopsis(&mut text, command);
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

/// Has a page's synopsis say what the help does: all options by their names alone tell nobody how they are given.
fn replace_synopsis(page: &mut String, command: &Command) {
    const TITLE: &str = "\n.SH SYNOPSIS\n";
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim_start();
    let Some(begin) = page.find(TITLE).map(|at| at + TITLE.len()) else {
        return;
    };
    let end = page[begin..]
        .find("\n.SH ")
        .map_or(page.len(), |length| begin + length);
    let mut lines = Roff::new();
    for (nth, line) in usage.lines().enumerate() {
        if nth > 0 {
            lines.control("br", []);
        }
        lines.text([roman(line.trim())]);
    }
    let text = lines.render();
    // The page begins with how an apostrophe is written.
    let text = text
        .lines()
        .filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"));
    let text: Vec<&str> = text.collect();
    page.replace_range(begin..end, &text.join("\n"));
}

/// A line to be typed in lines that a terminal of 80 columns shows beside a page's margin, each but the last with
/// the sign that has a shell go on.
fn continued(line: &str) -> Vec<String> {
    const WIDTH: usize = 72;
    let indent = line.len() - line.trim_start().len();
    let mut lines: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= WIDTH => {
                last.push(' ');
                last.push_str(word);
            }
            Some(_) => lines.push(format!("{}{word}", " ".repeat(indent + 4))),
            None => lines.push(format!("{}{word}", " ".repeat(indent))),
        }
    }
    if line.chars().count() <= WIDTH || !line.trim_start().starts_with("mspipe ") {
        return vec![line.to_owned()];
    }
    let end = lines.len() - 1;
    lines[..end]
        .iter_mut()
        .for_each(|line| line.push_str(" \\"));
    lines
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
            true if verbatim => drop(page.text([])),
            true => drop(page.control("PP", [])),
            false if verbatim => {
                for part in continued(line) {
                    page.text([roman(part)]);
                }
            }
            false => drop(page.text([roman(line)])),
        }
    }
    if verbatim {
        page.control("fi", []);
    }
    let text = page.render();
    // The page has what stands before it already: how an apostrophe is written.
    text[text.find(".SH").unwrap_or(0)..].to_owned()
}
