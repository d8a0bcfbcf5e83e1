//! `mspipe config`: settings as files have them.

use clap::Args;
use mspipe::config::{self, GivenConfig, Purpose};
use mspipe::console;

const FEW: &str = "\
Examples:
  A file with every setting, its default and what it means, to change and to give to train:
    mspipe config --defaults > run.toml
    mspipe train --config run.toml --set learning_rate=3e-4
  What a run would have, all told:
    mspipe config --config run.toml --protocol tgl
  For an editor that completes and checks files of settings:
    mspipe config --schema > mspipe.schema.json";

const MORE: &str = "\
A file of settings is TOML or JSON; each name is that of an option, with _ or - between its words. From the \
weakest to the strongest: defaults, the run of --init, the file, --set, options. The config.json of a run is \
such a file; of it, the folder of that run is left out. docs/settings.md has all of it.";

/// Arguments of `mspipe config`.
#[derive(Debug, Args)]
#[command(after_help = FEW, after_long_help = format!("{FEW}\n\n{MORE}"))]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    settings: GivenConfig,

    /// Print a file of all settings with their defaults and what they mean
    #[arg(long, conflicts_with = "schema")]
    defaults: bool,

    /// Print the JSON schema of files of settings
    #[arg(long)]
    schema: bool,

    /// Print the settings as a run's config.json has them, instead of TOML
    #[arg(long, conflicts_with_all = ["defaults", "schema"])]
    json: bool,
}

/// Prints.
pub(crate) fn run(args: ConfigArgs) -> anyhow::Result<()> {
    if args.defaults {
        return Ok(console::product(config::defaults())?);
    }
    if args.schema {
        return Ok(console::json(&config::schema())?);
    }
    let mut settings = args.settings.resolve(Purpose::Train)?;
    super::report::say_notes(&std::mem::take(&mut settings.without_effect));
    match args.json {
        true => Ok(console::json(&settings)?),
        false => Ok(console::product(config::to_toml(&settings))?),
    }
}
