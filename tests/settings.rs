//! Settings from files: what is taken, which of two comes first, and what is said of a wrong one; and
//! what the help, the completions and the manual pages show of them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::Program;

/// A run of seconds.
const SMALL: &str = "device = \"cpu\"\nwidth = 16\ntime-width = 8\nbatch_size = 100\nepochs = 2\n\
                     data = \"synthetic:wikipedia:scale=0.002\"\n";

fn ok(program: &Program, arguments: &str) -> String {
    let ended = program.run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
    ended.stdout
}

/// The settings that a run would have.
fn settings(program: &Program, arguments: &str) -> Value {
    let text = ok(program, &format!("config --json {arguments}"));
    serde_json::from_str(&text).unwrap()
}

fn write(program: &Program, name: &str, text: &str) {
    fs::write(program.path(name), text).unwrap();
}

/// Where what `auto` measures would decide numbers or is in the way, it is not the default.
#[test]
fn schedules_that_measure_are_the_default_only_where_no_number_depends_on_it() {
    let program = Program::new();
    let schedule = |arguments: &str| settings(&program, arguments)["pipeline"]["schedule"].clone();
    assert_eq!(schedule(""), "auto");
    for other in ["--memory host", "--ranks threads:2", "--profile"] {
        assert_eq!(schedule(other), "sequential", "{other}");
        let given = format!("{other} --schedule prefetch");
        assert_eq!(schedule(&given), "prefetch", "{given}");
    }
    assert_eq!(schedule("--set memory=host"), "sequential");

    write(&program, "run.toml", SMALL);
    ok(&program, "train --config run.toml --epochs 1 --out run");
    let of_run = |more: &str| schedule(&format!("--init run {more}"));
    assert_eq!(of_run(""), "auto");
    assert_eq!(of_run("--memory host"), "sequential");
    assert_eq!(of_run("--memory host --schedule auto"), "auto");
}

#[test]
fn defaults_file_set_run_and_file_again_are_equal() {
    let program = Program::new();
    let listed = ok(&program, "config --defaults");
    write(&program, "defaults.toml", &listed);
    assert_eq!(
        settings(&program, "--config defaults.toml"),
        settings(&program, "")
    );

    write(&program, "run.toml", SMALL);
    let given = "--config run.toml --set epochs=1 --set sampler=uniform --seed 7";
    let before = settings(&program, given);
    assert_eq!(before["epochs"], 1);
    ok(&program, &format!("train {given} --out run"));
    let mut written = program.json("run/config.json");
    let found_out = ["time_delta", "hide_batch", "pair_history", "out"];
    for (name, value) in before.as_object().unwrap() {
        if !found_out.contains(&name.as_str()) {
            assert_eq!(written[name], *value, "{name}");
        }
    }

    // The file that the run has written, elsewhere, as it is and as TOML.
    fs::copy(program.path("run/config.json"), program.path("copy.json")).unwrap();
    assert_eq!(settings(&program, "--config copy.json"), written);
    let toml = ok(&program, "config --config copy.json");
    write(&program, "copy.toml", &toml);
    assert_eq!(settings(&program, "--config copy.toml"), written);

    // Where it lies, its folder is that of its own run.
    written["out"] = Value::Null;
    assert_eq!(settings(&program, "--config run/config.json"), written);
    ok(&program, "train --config run/config.json --out again");
    let losses = |run: &str| fs::read_to_string(program.path(run).join("metrics.jsonl")).unwrap();
    let of = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("\"loss\""));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(of(&losses("run")), of(&losses("again")));
}

#[test]
fn later_layers_come_before_earlier_ones() {
    let program = Program::new();
    write(&program, "run.toml", SMALL);
    let epochs = |arguments: &str| settings(&program, arguments)["epochs"].clone();
    assert_eq!(epochs(""), 50);
    assert_eq!(epochs("--config run.toml"), 2);
    assert_eq!(epochs("--config run.toml --set epochs=3"), 3);
    assert_eq!(epochs("--config run.toml --set epochs=3 --set epochs=4"), 4);
    assert_eq!(epochs("--config run.toml --set epochs=3 --epochs 5"), 5);
    // What a file's protocol decides, the file need not say.
    write(&program, "tgl.toml", "protocol = \"tgl\"\n");
    assert_eq!(epochs("--config tgl.toml"), 5);
    assert_eq!(epochs("--config tgl.toml --protocol tgb"), 50);
    // A switch that a file turns on is turned off again.
    write(
        &program,
        "sort.toml",
        "sort = true\n[pipeline]\nqueue_depth = 5\n",
    );
    let sorted = settings(&program, "--config sort.toml");
    assert_eq!(sorted["reading"]["sort"], true);
    assert_eq!(sorted["pipeline"]["queue_depth"], 5);
    let off = settings(&program, "--config sort.toml --set sort=false");
    assert_eq!(off["reading"]["sort"], false);
    // Of the two ways to divide a stream, that of the later layer holds.
    write(&program, "split.toml", "split = \"0.5,0.2\"\n");
    let at = settings(&program, "--config split.toml --split-at 5,7");
    assert_eq!(at["reading"]["split"], Value::Null);
    assert_ne!(at["reading"]["split_at"], Value::Null);
    let set = settings(&program, "--config split.toml --set split_at=5,7");
    assert_eq!(set["reading"]["split"], Value::Null);
}

#[test]
fn what_a_file_overrules_of_a_protocol_is_told() {
    let program = Program::new();
    write(&program, "run.toml", SMALL);
    let ended = program.run("config --config run.toml --protocol tgl");
    assert!(
        ended.stderr.contains(
            "note: epochs, batch-size: as the file of settings has them; --protocol tgl alone would decide otherwise"
        ),
        "{}",
        ended.stderr
    );
    // What acts on nothing is told too, but not that a file names a default.
    write(
        &program,
        "slots.toml",
        "mail_slots = 3\nbalance = \"none\"\n",
    );
    let ended = program.run("config --config slots.toml");
    assert_eq!(
        ended.stderr,
        "note: --mail-slots has no effect with --model tgn\n"
    );
}

#[test]
fn a_wrong_file_is_refused_with_line_and_reason() {
    let program = Program::new();
    for (text, expected) in WRONG {
        write(&program, "run.toml", text);
        let ended = program.run("train --dry-run --config run.toml");
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(1), format!("error: {expected}\n").as_str()),
            "{text}"
        );
    }
    for (set, expected) in [
        (
            "epoch=3",
            "--set epoch=3: unknown setting 'epoch'; the nearest is 'epochs' (mspipe config --defaults \
             has all)",
        ),
        (
            "epochs",
            "--set epochs: found no '=', expected NAME=VALUE, for example epochs=3",
        ),
        (
            "heads=0",
            "--set heads=0: --heads is 0, expected 1 to 128: with its slots, an attention has at most \
             128 products",
        ),
        (
            "split=0.5,0.2 --set split_at=5,7",
            "--set split_at=5,7: 'split_at' can't be given with 'split' (--set split=0.5,0.2); leave one out",
        ),
    ] {
        let ended = program.run(&format!("train --dry-run --set {set}"));
        assert_eq!(
            (ended.code, ended.stderr),
            (Some(1), format!("error: {expected}\n"))
        );
    }
    let ended = program.run("train --config nowhere.toml");
    assert!(
        ended
            .stderr
            .starts_with("error: nowhere.toml: can't be read as a file of settings: "),
        "{}",
        ended.stderr
    );
    let ended = program.run("train --resume run --set epochs=3");
    assert_ne!(ended.code, Some(0));
}

#[rustfmt::skip]
const WRONG: [(&str, &str); 22] = [
    ("resume = \"runs/a\"\n",
     "run.toml:1: 'resume' is no setting: --resume is given on the command line alone"),
    ("dry-run = true\n",
     "run.toml:1: 'dry-run' is no setting: --dry-run is given on the command line alone"),
    ("reading = 3\n",
     "run.toml:1: 'reading' is a table of settings, and no setting: [reading] stands above those that it has"),
    ("xyz = 3\n",
     "run.toml:1: unknown setting 'xyz' (mspipe config --defaults has all)"),
    ("lr = 0.1\n",
     "run.toml:1: unknown setting 'lr'; the nearest is 'learning_rate' (mspipe config --defaults has all)"),
    ("candidates = true\n",
     "run.toml:1: candidates: found true, expected a text or a number"),
    ("{\n  \"seed\": 1,\n  \"training\":\n  {\"epochs\": 3}\n}\n",
     "run.toml:3: unknown table 'training'; settings stand at the top (mspipe config --defaults)"),
    ("epochs = 3\nlearning_rat = 0.1\n",
     "run.toml:2: unknown setting 'learning_rat'; the nearest is 'learning_rate' (mspipe config --defaults has all)"),
    ("\n[training]\nepochs = 3\n",
     "run.toml:2: unknown table 'training'; settings stand at the top (mspipe config --defaults)"),
    ("[pipeline]\nmemory = \"host\"\nepochs = 3\n",
     "run.toml:3: 'epochs' stands in the table 'pipeline' and is not of it; put it above the first table"),
    ("epochs = \"three\"\n",
     "run.toml:1: epochs: found 'three', expected a whole number from 1 to 1,000,000"),
    ("\nlearning_rate = \"much\"\n",
     "run.toml:2: learning_rate: found 'much', expected a number, such as 0.1 or 1e-3"),
    ("seed = 1.5\n",
     "run.toml:1: seed: found '1.5', expected a whole number from 0 on"),
    ("# a model\nmodel = \"tgm\"\n",
     "run.toml:2: model: found 'tgm', expected one of tgn, jodie, apan"),
    ("device = \"cuda\"\n",
     "run.toml:1: device: found 'cuda', expected auto, cpu, gpu, gpu:N, gpu:local-rank, software or software:N"),
    ("seed = 1\nepochs = 0\n",
     "run.toml:2: --epochs is 0, expected 1 to 1,000,000, beyond any run that could end"),
    ("sort = \"yes\"\n",
     "run.toml:1: sort: found 'yes', expected true or false"),
    ("width = [16, 32]\n",
     "run.toml:1: width: found a list, expected one value"),
    ("pair_history = true\n",
     "run.toml:1: pair_history: found 'true', expected one of on, off"),
    ("split = \"0.5,0.2\"\nsplit_at = \"5,7\"\n",
     "run.toml:2: 'split_at' can't be given with 'split' (run.toml:1); leave one out"),
    ("memory = \"host\"\n[pipeline]\nmemory = \"device\"\n",
     "run.toml:3: 'memory' is given twice, in run.toml:1 too"),
    ("{\n  \"epochs\": 3,\n  \"epochs\": 4\n}\n",
     "run.toml:3: 'epochs' stands in line 2 already"),
];

#[test]
fn what_is_neither_toml_nor_json_is_told() {
    let program = Program::new();
    for (text, begins) in [
        (
            "\u{feff}{\n \"epochs\": 3,\n}\n",
            "error: run.toml:3: is no JSON: ",
        ),
        ("epochs = 3\nseed =\n", "error: run.toml:2: is no TOML: "),
        ("{\n \"epochs\": 3,\n}\n", "error: run.toml:3: is no JSON: "),
    ] {
        write(&program, "run.toml", text);
        let ended = program.run("train --dry-run --config run.toml");
        assert!(ended.stderr.starts_with(begins), "{}", ended.stderr);
    }
}

#[test]
fn what_some_editors_begin_a_file_with_is_no_part_of_it() {
    let program = Program::new();
    for text in [
        "\u{feff}epochs = 3\n",
        "\u{feff}{\"epochs\": 3}\n",
        "epochs = 3\n[reading]\n",
    ] {
        write(&program, "run.toml", text);
        assert_eq!(settings(&program, "--config run.toml")["epochs"], 3);
    }
}

#[test]
fn what_is_no_file_or_has_no_end_is_refused() {
    let program = Program::new();
    let said = |file: &str| {
        program
            .run(&format!("train --dry-run --config {file}"))
            .stderr
    };
    assert!(
        said("-").starts_with("error: -: settings are not read from standard input; give a file")
    );
    if cfg!(unix) {
        assert_eq!(
            said("/dev/zero"),
            "error: /dev/zero: has more than 16 MiB, and so is no file of settings\n"
        );
        let ended = program.run("sweep /dev/zero");
        assert!(
            ended.stderr.contains("more than 16 MiB"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn what_other_settings_decide_is_told_beside_them() {
    let program = Program::new();
    let told = |arguments: &str| ok(&program, &format!("config {arguments}"));
    let of_tgl = told("--protocol tgl");
    for line in [
        "# time_delta = \"query\"",
        "# pair_history = \"off\"",
        "# hide_batch = \"off\"",
        "# monitor = \"val-ap\"",
        "epochs = 5",
    ] {
        assert!(
            of_tgl.lines().any(|other| other == line),
            "{line}: {of_tgl}"
        );
    }
    assert!(told("").contains("# time_delta = \"message\"\n"));
    assert!(told("--model apan").contains("# time_delta = \"query\"\n"));
    assert!(told("--protocol tgb").contains("# monitor = \"val-mrr\"\n"));
    write(&program, "run.toml", "time_delta = \"message\"\n");
    let ended = program.run("config --config run.toml --protocol tgl");
    assert!(
        ended
            .stderr
            .contains("time-delta: as the file of settings has them"),
        "{}",
        ended.stderr
    );
}

/// What the program prints in 80 columns.
fn in_80_columns(program: &Program, arguments: &str) -> String {
    let mut command: Command = program.command(arguments);
    let output = command.env("COLUMNS", "80").output().unwrap();
    assert!(output.status.success(), "{arguments}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn short_help_fits_the_screen_and_all_defaults_are_said_once() {
    let program = Program::new();
    for command in ["train", "eval", "audit", "config"] {
        let short = in_80_columns(&program, &format!("{command} -h"));
        let long = in_80_columns(&program, &format!("{command} --help"));
        assert!(short.lines().count() <= 70, "{command}: {short}");
        assert!(
            short.lines().all(|line| line.chars().count() <= 80),
            "{short}"
        );
        let options = |text: &str| text.lines().filter(|line| is_option(line)).count();
        assert!(options(&short) <= 16, "{command}: {short}");
        assert!(options(&long) > 50, "{command}: {long}");
        for part in long.split("\n      --").skip(1) {
            assert!(part.matches("[default").count() <= 1, "{command}: {part}");
        }
    }
    let short = in_80_columns(&program, "train -h");
    for part in [
        "Stream:\n",
        "Model:\n",
        "Training:\n",
        "Pipeline:\n",
        "Run:\n",
        "Settings:\n",
        "--task <TASK>",
        "--init <RUN|FILE>",
        "--log <PROGRAM>",
        "--data",
        "--resume",
    ] {
        assert!(short.contains(part), "{part}\n{short}");
    }
    let words: Vec<&str> = short.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("[default: 50; 5 with --protocol tgl and mspipe]"));
    assert_eq!(short.matches("\n    mspipe train").count(), 3, "{short}");
}

fn is_option(line: &str) -> bool {
    let name = line.trim_start().trim_start_matches("-h, ");
    name.starts_with("--") && line.find("--").is_some_and(|at| at <= 6)
}

#[test]
fn shells_and_man_know_every_option() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        // More than a pipe holds.
        let text = in_80_columns(&program, &format!("completions {shell}"));
        for word in ["train", "learning-rate", "completions"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
        // The others complete names alone.
        if ["bash", "zsh", "fish"].contains(&shell) {
            assert!(text.contains("dyglib"), "{shell}");
        }
    }
    check_bash(&program, &in_80_columns(&program, "completions bash"));
    let page = in_80_columns(&program, "man train");
    assert!(page.contains(".TH mspipe-train 1"), "{page}");
    check_page(&page);
    ok(&program, "man --to pages");
    for name in ["mspipe.1", "mspipe-data-import.1", "mspipe-config.1"] {
        assert!(program.path("pages").join(name).exists(), "{name}");
    }
    let again = program.run("man --to pages");
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    ok(&program, "man --to pages --force");
    let unknown = program.run("man trian");
    assert_eq!(
        unknown.stderr,
        "error: mspipe has no command 'trian'; mspipe -h lists them\n"
    );
}

/// What bash offers for the last word of a command line.
fn offered(program: &Program, script: &str, line: &str) -> Vec<String> {
    write(program, "completions.bash", script);
    let words: Vec<&str> = line.split(' ').collect();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.len() - 1, words[words.len() - 2]);
    // `compopt` works within a completion alone; here it says what it was asked for.
    let asks = format!(
        "compopt() {{ [ \"$2\" = plusdirs ] && ADD=1; }}; . ./completions.bash; COMP_WORDS=({}); COMP_CWORD={last}; \
         _mspipe mspipe '{}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"; [ \"$ADD\" ] && compgen -d -- '{}'",
        quoted.join(" "),
        words[last],
        words[last],
    );
    let mut bash = Command::new("bash");
    let output = bash
        .args(["-c", &asks])
        .current_dir(program.folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut all: Vec<String> = lines.map(str::to_owned).collect();
    all.sort();
    all
}

/// Folders are offered where a run's folder is asked for, and no files there.
fn check_bash(program: &Program, script: &str) {
    fs::create_dir_all(program.path("runs/a")).unwrap();
    fs::create_dir_all(program.path("runs/b")).unwrap();
    write(program, "runs/c.txt", "");
    for line in [
        "mspipe report runs/",
        "mspipe report runs/a runs/",
        "mspipe runs runs/",
        "mspipe compare runs/",
        "mspipe eval runs/",
        "mspipe audit runs/",
        "mspipe train --resume runs/",
        "mspipe train --out runs/",
        "mspipe schedule simulate --profile runs/",
    ] {
        assert_eq!(
            offered(program, script, line),
            ["runs/a", "runs/b"],
            "{line}"
        );
    }
    assert_eq!(offered(program, script, "mspipe report "), ["runs"]);
    let files = ["runs/a", "runs/b", "runs/c.txt"];
    for line in [
        "mspipe export runs/",
        "mspipe score runs/",
        "mspipe train --init runs/",
    ] {
        assert_eq!(offered(program, script, line), files, "{line}");
    }
    // Words where words are asked for, and no files.
    for (line, word) in [
        ("mspipe train --device ", "auto"),
        ("mspipe train --schedule ", "sequential"),
        ("mspipe train --set epo", "epochs="),
        ("mspipe train --checkpoint-every ", "never"),
        ("mspipe runs --sort ", "learning_rate"),
        ("mspipe man ", "train"),
        ("mspipe data fetch ", "wikipedia"),
    ] {
        let found = offered(program, script, line);
        assert!(found.contains(&word.to_owned()), "{line}: {found:?}");
        assert!(
            !found.contains(&"runs".to_owned()) || line.contains("man"),
            "{line}: {found:?}"
        );
    }
    for line in ["mspipe train --split ", "mspipe train --epochs "] {
        assert_eq!(offered(program, script, line), [""; 0], "{line}");
    }
    assert_eq!(offered(program, script, "mspipe top-k runs/"), files);
    assert!(offered(program, script, "mspipe report --").contains(&"--force".to_owned()));
    assert!(offered(program, script, "mspipe tr").contains(&"train".to_owned()));
}

/// A manual page: an option has its help, those too that `-h` leaves out, and examples are as they are typed.
fn check_page(page: &str) {
    let options = page.split("\n.TP\n").skip(1);
    let mut described = 0;
    for option in options {
        let (name, help) = option.split_once('\n').unwrap();
        assert!(
            help.trim().len() > 10 && !help.starts_with('.'),
            "{name} has no help"
        );
        described += 1;
    }
    assert!(described > 75, "{described} options");
    let (_, examples) = page.split_once("\n.SH EXAMPLES").unwrap();
    let verbatim: Vec<&str> = examples
        .split("\n.nf\n")
        .skip(1)
        .map(|part| part.split("\n.fi\n").next().unwrap())
        .collect();
    let written = verbatim.concat().replace("\\-", "-");
    assert!(
        written
            .contains("\n    mspipe train --data wikipedia.csv --memory host --schedule mspipe\n"),
        "{written}"
    );
    assert!(!written.contains("Ctrl-C"), "{written}");
    assert!(
        written.contains("--schedule mspipe \\\\\n        --emulate-link 12GB/s,20us\n"),
        "{written}"
    );
    let synopsis = page.split_once(".SH SYNOPSIS\n").unwrap().1;
    assert!(
        synopsis.starts_with("mspipe train [OPTIONS]\n.SH DESCRIPTION\n"),
        "{synopsis}"
    );
}

#[test]
fn the_schema_is_of_what_a_run_writes() {
    let program = Program::new();
    let schema: Value = serde_json::from_str(&ok(&program, "config --schema")).unwrap();
    let written = settings(&program, "");
    for (name, value) in written.as_object().unwrap() {
        let property = &schema["properties"][name];
        if let Some(possible) = property["enum"].as_array() {
            assert!(possible.contains(value), "{name}: {value}");
            continue;
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() && property["type"] != "number" => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let types = &property["type"];
        let own = types
            .as_array()
            .map_or(types == kind, |all| all.contains(&json!(kind)));
        assert!(own, "{name}: {value}, {property}");
    }
}
