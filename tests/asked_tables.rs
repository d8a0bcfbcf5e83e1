//! Tables of pairs, nodes and new events for a run whose columns have names of their own: what is a header, which
//! column is meant, what is no number, what is left out, and what is said of it.

use std::fs;

use serde_json::Value;

use crate::program::{Ended, Program};

/// Payments with text ids, columns that no rule knows by name, two features and a label.
fn payments(events: std::ops::Range<usize>) -> String {
    let mut text = "account,merchant,at,amount,country,fraud\n".to_owned();
    for event in events {
        text.push_str(&payment(event));
    }
    text
}

fn payment(event: usize) -> String {
    let account = event * 7 % 20;
    let merchant = (account + event / 20 % 3 * 5) % 15;
    let (amount, country) = (event % 17, event % 5);
    format!(
        "acc{account},shop{merchant},{},{amount}.5,{country},{}\n",
        event * 60,
        u8::from(event.is_multiple_of(50))
    )
}

const EVENTS: usize = 600;

/// A run on the first payments.
fn trained() -> Program {
    let program = Program::new();
    fs::write(program.path("payments.csv"), payments(0..EVENTS)).unwrap();
    ok(program.run(
        "train --data payments.csv --columns src=account,dst=merchant,time=at,label=fraud --bipartite yes \
         --device cpu --width 8 --time-width 8 --fanout 4 --epochs 1 --batch-size 50 --out run",
    ));
    program
}

fn ok(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// What a command says on standard error that ends with `code`, where `text` is in the file `name`.
fn said(program: &Program, [name, text]: [&str; 2], arguments: &str, code: i32) -> String {
    fs::write(program.path(name), text).unwrap();
    let ended = program.run(arguments);
    assert_eq!(
        ended.code,
        Some(code),
        "{arguments} {text}: {}",
        ended.stderr
    );
    ended.stderr
}

/// The first column of what a command prints, without its name.
fn first_column(printed: &str) -> Vec<&str> {
    let first = |line: &'_ str| -> usize { line.find(',').unwrap_or(line.len()) };
    printed
        .lines()
        .skip(1)
        .map(|line| &line[..first(line)])
        .collect()
}

#[test]
fn features_of_new_events_are_taken_by_their_names() {
    let program = trained();
    let new = |table: &str, name: &str, more: &str| {
        fs::write(program.path("new.csv"), table).unwrap();
        program.run(&format!(
            "update run --events new.csv --to {name}.safetensors --force {more}"
        ))
    };
    let asked = |name: &str| {
        ok(program.run(&format!("top-k {name}.safetensors --sources acc3 --k 15"))).stdout
    };
    // Without the label, and with features in the order of training, in another one, and with other letters.
    ok(new(
        "account,merchant,at,amount,country\nacc3,shop8,36000,250.5,3\n",
        "a",
        "",
    ));
    ok(new(
        "country,amount,merchant,account,at\n3,250.5,shop8,acc3,36000\n",
        "b",
        "",
    ));
    ok(new(
        "src,dst,time,Country,AMOUNT\nacc3,shop8,36000,3,250.5\n",
        "c",
        "",
    ));
    ok(new(
        "account,merchant,at,amount,country,fraud\nacc3,shop8,36000,250.5,3,0\n",
        "d",
        "",
    ));
    let right = asked("a");
    for name in ["b", "c", "d"] {
        assert_eq!(asked(name), right, "{name}");
    }
    // The values the other way round are another event.
    ok(new(
        "account,merchant,at,amount,country\nacc3,shop8,36000,3,250.5\n",
        "e",
        "",
    ));
    assert_ne!(asked("e"), right);
    // Without names their order counts, and it is said.
    let unnamed = ok(new("acc3,shop8,36000,250.5,3\n", "f", "--no-header"));
    assert!(
        unnamed
            .stderr
            .contains("taken for amount, country, in this order"),
        "{}",
        unnamed.stderr
    );
    assert_eq!(asked("f"), right);
}

#[test]
fn features_of_other_names_are_refused() {
    let program = trained();
    let new = |table: &str, more: &str| {
        fs::write(program.path("new.csv"), table).unwrap();
        program.run(&format!(
            "update run --events new.csv --to a.safetensors --force {more}"
        ))
    };
    let refused = |table: &str, parts: &[&str]| {
        let ended = new(table, "");
        assert_eq!(ended.code, Some(1), "{table}: {}", ended.stdout);
        for part in parts {
            assert!(ended.stderr.contains(part), "{table}: {}", ended.stderr);
        }
    };
    let names = "there is no `amount`, and `amt` was not among them";
    refused(
        "account,merchant,at,amt,country\nacc3,shop8,36000,1,2\n",
        &[names],
    );
    refused(
        "account,merchant,at,country\nacc3,shop8,36000,2\n",
        &["there is no `amount`"],
    );
    let surplus = "account,merchant,at,amount,country,fee\nacc3,shop8,36000,1,2,3\n";
    refused(
        surplus,
        &["`fee` was not among them", "--columns ignore=COLUMN"],
    );
    ok(new(surplus, "--columns ignore=fee"));
    // A value that is no number is told with its place; the column is not left out.
    for value in ["abc", "", "nan"] {
        let table = format!("account,merchant,at,amount,country\nacc3,shop8,36000,{value},2\n");
        refused(&table, &["new.csv:2", "`amount`"]);
    }
}

#[test]
fn new_events_are_read_as_those_that_the_run_was_trained_on() {
    let program = trained();
    let update = "update run --events new.csv --to a.safetensors --force";
    let table = |line: &str| format!("account,merchant,at,amount,country\n{line}\n");
    let far = table("acc3,shop8,36000000,1,2");
    let told = said(&program, ["new.csv", &far], update, 1);
    for part in ["event 1: its time 36000000", "--max-jump", "--time-unit ms"] {
        assert!(told.contains(part), "{told}");
    }
    said(
        &program,
        ["new.csv", &far],
        &format!("{update} --time-unit ms"),
        0,
    );
    said(
        &program,
        ["new.csv", &far],
        &format!("{update} --max-jump off"),
        0,
    );
    said(
        &program,
        ["new.csv", &far],
        &format!("{update} --max-jump 40000000"),
        0,
    );
    let wrong = said(
        &program,
        ["new.csv", &far],
        &format!("{update} --max-jump soon"),
        1,
    );
    assert!(
        wrong.contains("--max-jump soon: expected a time"),
        "{wrong}"
    );
    let missing = said(
        &program,
        ["new.csv", &table("NA,shop8,36000,1,2")],
        update,
        1,
    );
    assert!(
        missing.contains("new.csv:2") && missing.contains("missing value"),
        "{missing}"
    );
    let fine = said(
        &program,
        ["new.csv", &table("acc3,shop8,36000.5,1,2")],
        update,
        1,
    );
    assert!(
        fine.contains("event 1: the time is 36000.5; expected a time without decimals"),
        "{fine}"
    );
}

#[test]
fn what_is_left_out_of_new_events_is_told() {
    let program = trained();
    let update = "update run --events new.csv --to a.safetensors --force";
    let note = said(
        &program,
        [
            "new.csv",
            "account,merchant,at,amount,country,note\nacc3,shop8,36000,1,2,late\n",
        ],
        update,
        0,
    );
    assert!(note.contains("columns that are left out: `note`"), "{note}");
    // A stream that is converted already belongs to the run as well.
    ok(program.run(
        "data import payments.csv --columns src=account,dst=merchant,time=at,label=fraud --bipartite yes --to \
         mine.mspipe",
    ));
    let late = ok(program.run("update run --events mine.mspipe --to a.safetensors --force"));
    assert!(
        late.stdout.contains("599 late events left out"),
        "{}",
        late.stdout
    );
}

#[test]
fn a_state_that_needs_no_stream_takes_none_and_is_no_weights() {
    let program = trained();
    ok(program.run("export run --self-contained --to alone.safetensors"));
    let data = program.run("top-k alone.safetensors --data payments.csv --sources acc3");
    assert!(
        data.code == Some(1) && data.stderr.contains("leave --data out"),
        "{}",
        data.stderr
    );
    for command in [
        "export alone.safetensors --to w.safetensors",
        "train --init alone.safetensors --data payments.csv --device cpu --epochs 1",
    ] {
        let ended = program.run(command);
        assert!(
            ended.code == Some(1)
                && ended
                    .stderr
                    .contains("this is a state, which answers questions"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn sources_stand_in_the_column_that_holds_them() {
    let program = trained();
    let best = |text: &str, more: &str| {
        fs::write(program.path("s.csv"), text).unwrap();
        let ended = ok(program.run(&format!("top-k run --sources s.csv --k 1 {more}")));
        let found = first_column(&ended.stdout).join(" ");
        (found, ended.stderr)
    };
    assert_eq!(best("account\nacc1\nacc2\n", "").0, "acc1 acc2");
    assert_eq!(best("acc1\nacc2\n", "").0, "acc1 acc2");
    assert_eq!(best("name,user\nAnn,acc1\nBob,acc2\n", "").0, "acc1 acc2");
    assert_eq!(best("merchant,account\nshop1,acc1\n", "").0, "acc1");
    assert_eq!(best("node;side\nacc1;source\n", "").0, "acc1");
    assert_eq!(best("kunde\nacc1\n", "--columns src=kunde").0, "acc1");
    assert_eq!(best("kunde,name\nacc1,Ann\n", "--columns src=1").0, "acc1");
    let (all, note) = best(&payments(0..20), "");
    assert_eq!((all.split(' ').count(), note.as_str()), (20, ""));
    // A node that is called as a column may be.
    fs::write(
        program.path("new.csv"),
        "account,merchant,at,amount,country\nuser,shop1,36000,1,1\n",
    )
    .unwrap();
    ok(program.run("update run --events new.csv --to a.safetensors"));
    let asked = |more: &str| {
        fs::write(program.path("s.csv"), "user\nacc1\n").unwrap();
        let ended = ok(program.run(&format!("top-k a.safetensors --sources s.csv --k 1 {more}")));
        (first_column(&ended.stdout).join(" "), ended.stderr)
    };
    let (found, note) = asked("");
    assert!(
        found == "acc1" && note.contains("--no-header"),
        "{found}: {note}"
    );
    assert_eq!(
        asked("--no-header"),
        ("user acc1".to_owned(), String::new())
    );
}

#[test]
fn sources_that_may_be_meant_otherwise_are_refused() {
    let program = trained();
    let refused = |text: &str, parts: &[&str]| {
        let told = said(&program, ["s.csv", text], "top-k run --sources s.csv", 1);
        for part in parts {
            assert!(told.contains(part), "{text}: {told}");
        }
    };
    refused(
        "kunde,name\nacc1,Ann\n",
        &["2 columns", "--columns src=COLUMN"],
    );
    refused(
        "merchant\nshop1\n",
        &[
            "`merchant` is that of destinations",
            "--columns src=merchant",
        ],
    );
    refused(
        "node,side\nshop1,destination\n",
        &["s.csv:2: side is destination"],
    );
    refused("node,side\nshop1,left\n", &["s.csv:2: side is `left`"]);
    refused(
        "account\n\"acc1\"x\n",
        &["s.csv:2", "text behind a closing quote"],
    );
    refused("account\nNA\n", &["s.csv:2", "missing value"]);

    let named = |sources: &str| program.run(&format!("top-k run --k 1 --sources {sources}"));
    for file in [
        "nowhere.csv",
        "/nowhere",
        "acc1,nowhere.PARQUET",
        "--nowhere",
    ] {
        let ended = named(file);
        assert!(
            ended.code == Some(1) && ended.stderr.contains("no such file"),
            "{file}: {}",
            ended.stderr
        );
    }
    let unknown = ok(named("-dash"));
    assert!(
        unknown.stdout.contains("\n-dash,1,")
            && unknown.stderr.starts_with("the source has had no event")
    );
    let far = ok(program.run("top-k run --k 1 --sources acc1 --at 36000000"));
    assert!(
        far.stderr.contains("--at 36000000: the time 36000000 is"),
        "{}",
        far.stderr
    );
}

#[test]
fn nodes_that_are_embedded_are_of_the_kind_that_their_table_says() {
    let program = trained();
    ok(program.run("embed run --to all.csv"));
    let all = fs::read_to_string(program.path("all.csv")).unwrap();
    let embed = |more: &str| {
        let ended = ok(program.run(&format!("embed run --to found.csv --force --json {more}")));
        let done: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(done["unknown"], 0, "{more}");
        fs::read_to_string(program.path("found.csv")).unwrap()
    };
    // What it has written itself.
    assert_eq!(embed("--nodes all.csv"), all);
    ok(program.run("embed run --to all.parquet"));
    assert_eq!(embed("--nodes all.parquet"), all);
    fs::write(program.path("n.csv"), "merchant\nshop1\nshop2\n").unwrap();
    let shops = embed("--nodes n.csv");
    assert_eq!(first_column(&shops), ["shop1", "shop2"]);
    fs::write(program.path("n.csv"), "shop1\nshop2\n").unwrap();
    assert_eq!(embed("--nodes n.csv --side destination"), shops);
    assert_eq!(embed("--nodes n.csv --no-header --columns dst=1"), shops);
    let refused = |text: &str, more: &str| {
        said(
            &program,
            ["n.csv", text],
            &format!("embed run --nodes n.csv --to x.csv {more}"),
            1,
        )
    };
    let both = refused("account,merchant\nacc1,shop1\n", "");
    assert!(
        both.contains("more than one column may hold the nodes"),
        "{both}"
    );
    let twice = refused("node,side\nshop1,destination\n", "--side source");
    assert!(twice.contains("leave one of them out"), "{twice}");
    let folder = program.run("embed run --to nowhere/x.csv");
    assert!(
        folder
            .stderr
            .starts_with("error: nowhere/x.csv: there is no folder"),
        "{}",
        folder.stderr
    );
    let npy = ok(program.run("embed run --to all.npy"));
    assert!(npy.stderr.contains("embed --to all.csv"), "{}", npy.stderr);
}

#[test]
fn pairs_stand_in_the_columns_that_the_run_has_named() {
    let program = trained();
    let score = |text: &str, more: &str| {
        fs::write(program.path("p.csv"), text).unwrap();
        ok(program.run(&format!("score run --pairs p.csv {more}")))
    };
    let right = score("src,dst\nacc1,shop1\n", "").stdout;
    for (text, more) in [
        ("account,merchant\nacc1,shop1\n", ""),
        ("merchant,account,note\nshop1,acc1,x\n", ""),
        ("src;dst\nacc1;shop1\n", ""),
        ("acc1;shop1\n", "--no-header"),
        ("a,b\nacc1,shop1\n", "--columns src=a,dst=b"),
        ("a,b\nacc1,shop1\n", "--columns src=a,dst=b,label=fraud"),
    ] {
        assert_eq!(score(text, more).stdout, right, "{text}");
    }
    let one = score("src,dst\nacc1,shop1\n", "").stderr;
    assert!(one.starts_with("1 pair scored after 600 events"), "{one}");
    let far = score("src,dst,time\nacc1,shop1,36000000\nacc1,shop1,36000\n", "").stderr;
    assert!(far.contains("note: p.csv:2: the time 36000000 is"), "{far}");
    let refused = |text: &str, part: &str| {
        let told = said(&program, ["p.csv", text], "score run --pairs p.csv", 1);
        assert!(told.contains(part), "{text}: {told}");
        told
    };
    // A field too many would shift all others.
    refused(
        "src,dst\na,b,c\n",
        "p.csv:2: 3 fields; expected 2, as in the header",
    );
    refused("src,dst\n\"acc1\"x,shop1\n", "text behind a closing quote");
    refused("src,dst\nNA,shop1\n", "missing value");
    let needed = refused(
        "payer_no,shop_no\nacc1,shop1\n",
        "--columns src=COLUMN,dst=COLUMN;",
    );
    assert!(!needed.contains("time="), "{needed}");
    refused("src\nacc1\n", "--columns src=src,dst=COLUMN;");
}

/// As in a state of an earlier version: features whose names are not known have them from the first update on.
#[test]
fn names_that_were_not_known_are_learnt_once() {
    let program = Program::new();
    let lines: String = payments(0..EVENTS)
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(program.path("payments.csv"), lines).unwrap();
    ok(program.run(
        "train --data payments.csv --no-header --columns src=1,dst=2,time=3,label=6 --device cpu --width 8 \
         --time-width 8 --fanout 4 --epochs 1 --batch-size 50 --out run",
    ));
    let update = |from: &str, header: &str, line: &str| {
        fs::write(program.path("new.csv"), format!("{header}\n{line}\n")).unwrap();
        program.run(&format!(
            "update {from} --events new.csv --to a.safetensors --force"
        ))
    };
    let header = "account,merchant,at,amount,country";
    let first = ok(update(
        "run --columns src=account,dst=merchant,time=at",
        header,
        "acc3,shop8,36000,1,2",
    ));
    let learnt = "amount, country are taken in this order, and by these names from now on";
    assert!(first.stderr.contains(learnt), "{}", first.stderr);
    let more = "a.safetensors --columns src=account,dst=merchant,time=at";
    let second = ok(update(more, header, "acc3,shop8,36001,1,2"));
    assert!(second.stderr.is_empty(), "{}", second.stderr);
    let third = update(
        more,
        "account,merchant,at,amt,country",
        "acc3,shop8,36002,1,2",
    );
    assert!(
        third.code == Some(1) && third.stderr.contains("there is no `amount`"),
        "{}",
        third.stderr
    );
}
