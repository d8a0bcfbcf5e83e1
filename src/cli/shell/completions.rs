//! What a shell needs to complete command lines: `clap_complete`'s script, with what it leaves out.
//!
//! Words that an option takes beside others (`auto`, `epoch`) are offered where it has no list of values, and no
//! files where none is meant. Places that are asked for as an argument are completed in bash and fish, whose
//! scripts have those of options alone.

use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;
use mspipe::config::{self, RunConfig};
use mspipe::console;
use mspipe_datasets::manifest::Manifest;

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

/// Arguments of `mspipe completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Words of options whose values are told in their help alone.
#[rustfmt::skip]
const WORDS: [(&str, &[&str]); 8] = [
    ("device", &["auto", "cpu", "gpu", "software"]),
    ("kernels", &["auto", "gpu", "software"]),
    ("limits", &["adapter", "webgpu", "alignment:"]),
    ("features", &["auto", "host", "device", "device:"]),
    ("schedule", &["sequential", "prefetch", "staleness:", "mspipe", "freshest", "freshest:", "exact-overlap", "auto", "replay:"]),
    ("format", &["jodie", "snap", "tgl", "dgb", "tgb", "tgb-seq", "parquet", "gdelt", "csv"]),
    ("time_unit", &["auto", "s", "ms", "us", "ns"]),
    ("columns", &["src=", "dst=", "time=", "label=", "features=", "ignore="]),
];

/// Prints the completions of `program`.
pub(crate) fn completions(args: &CompletionsArgs, program: Command) -> anyhow::Result<()> {
    let mut program = offering(program.clone(), &program, args.shell);
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, "mspipe", &mut text);
    let mut text = String::from_utf8(text)?;
    match args.shell {
        Shell::Bash => complete_places(&mut text, &program, "mspipe"),
        Shell::Fish => complete_arguments(&mut text, &program),
        _ => {}
    }
    Ok(console::product(text)?)
}

/// A command, and those below it, whose options and arguments say what may be offered for them. It is for a shell's
/// script alone: what is refused, the command itself knows.
fn offering(command: Command, whole: &Command, shell: Shell) -> Command {
    let name = command.get_name().to_owned();
    let inner: Vec<String> = command
        .get_subcommands()
        .map(|inner| inner.get_name().to_owned())
        .collect();
    let command = command.mut_args(|option| {
        let option = offered(option, &name, whole);
        match shell {
            Shell::Zsh => escaped(option),
            _ => option,
        }
    });
    inner.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |inner| offering(inner, whole, shell))
    })
}

/// An option or argument of the command called `of` with the words that may be offered for it.
fn offered(option: Arg, of: &str, whole: &Command) -> Arg {
    let is_open = option.get_action().takes_values() && option.get_possible_values().is_empty();
    if !is_open {
        return option;
    }
    let id = option.get_id().to_string();
    let values = option.get_value_names().unwrap_or_default().join("|");
    let words = words(&id, of, &values, whole);
    let is_place = ["FILE", "PATH", "RUN", "DIR"]
        .iter()
        .any(|place| values.contains(place))
        || !matches!(option.get_value_hint(), ValueHint::Unknown);
    match (words.is_empty(), is_place) {
        // What ends with a sign goes on, and `Other` has bash add no space.
        (false, false) => option
            .value_parser(PossibleValuesParser::new(kept(words)))
            .value_hint(ValueHint::Other),
        (true, false) => option.value_hint(ValueHint::Other),
        (_, true) => option,
    }
}

/// The words of an option or argument that has no list of values; `values` is what its help calls them.
fn words(id: &str, of: &str, values: &str, whole: &Command) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let settings = || {
        let names = config::options::<RunConfig>();
        names.into_iter().map(|name| name.to_string())
    };
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == id) {
        return owned(words);
    }
    match (of, id) {
        ("man", "command") => {
            let all = whole.get_subcommands();
            let all =
                all.flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
            all.map(|command| command.get_name().to_owned()).collect()
        }
        ("fetch", _) => Manifest::all()
            .iter()
            .map(|known| known.name.clone())
            .collect(),
        (_, "set") => settings().map(|name| format!("{name}=")).collect(),
        (_, "sort") if of == "runs" => super::super::runs::names().collect(),
        (_, "filter") => super::super::runs::names().collect(),
        // `N|TIME|epoch|never`: words in small letters are themselves.
        _ => values
            .split('|')
            .filter(|word| {
                let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
                !word.is_empty() && word.chars().all(is_word) && values.contains('|')
            })
            .map(str::to_owned)
            .collect(),
    }
}

/// An option whose name of a value has no sign that ends it in a specification of zsh, which `clap_complete`
/// leaves as it is.
fn escaped(option: Arg) -> Arg {
    let names: Vec<String> = option
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| name.replace(':', "\\:").replace(['[', ']'], ""))
        .collect();
    match names.is_empty() {
        true => option,
        false => option.value_names(kept(names)),
    }
}

/// Texts for as long as the program runs, as clap takes them: it prints the script and ends.
fn kept(texts: Vec<String>) -> Vec<&'static str> {
    let keep = |text: String| -> &'static str { text.leak() };
    texts.into_iter().map(keep).collect()
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
        // As `clap_complete` writes a name with a dash.
        let inner_name = inner.get_name().replace('-', "__subcmd__");
        complete_places(script, inner, &format!("{name}__subcmd__{inner_name}"));
    }
}

/// Has fish complete what a command takes as an argument, and the command that help is asked for:
/// `clap_complete`'s script knows options alone, and takes `help` for one that was given already. To go once it
/// does not.
fn complete_arguments(script: &mut String, program: &Command) {
    let seen = "__fish_mspipe_using_subcommand help; and not __fish_seen_subcommand_from ";
    let lines: Vec<String> = script
        .lines()
        .map(|line| match line.contains(seen) {
            true => line.replacen(" help\"", "\"", 1),
            false => line.to_owned(),
        })
        .collect();
    *script = lines.join("\n") + "\n";
    for command in program.get_subcommands() {
        let own = format!("__fish_mspipe_using_subcommand {}", command.get_name());
        let of_fish = fish_argument(command, &own);
        let inner = command.get_subcommands().filter_map(|inner| {
            let own = format!(
                "{own}; and __fish_seen_subcommand_from {}",
                inner.get_name()
            );
            fish_argument(inner, &own)
        });
        for line in of_fish.into_iter().chain(inner) {
            // Writing to a string does not fail.
            let _ = writeln!(script, "{line}");
        }
    }
}

/// The line that has fish complete the arguments of a command, where `when` holds.
fn fish_argument(command: &Command, when: &str) -> Option<String> {
    let argument = command.get_positionals().last()?;
    let words: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|word| word.get_name().to_owned())
        .collect();
    let offers = match argument.get_value_hint() {
        ValueHint::DirPath => "(__fish_complete_directories)".to_owned(),
        _ if !words.is_empty() => words.join(" "),
        _ => return None,
    };
    Some(format!(
        "complete -c mspipe -n \"{when}\" -f -a \"{offers}\""
    ))
}
