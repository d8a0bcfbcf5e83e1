//! `mspipe-bench accept` as a user runs it, on the software adapter, and its parts at small sizes.

use std::process::Stdio;

use burn::tensor::Tensor;
use mspipe::device::{self, DeviceChoice};
use mspipe_bench::accept::{AcceptReport, Findings, Part, Row, Verdict, checks, judged, kernels};
use mspipe_checks::{Check, Group, on_device};
use serde_json::Value;

use crate::workdir::Workdir;

/// The report that a command wrote.
fn report(folder: &Workdir) -> AcceptReport {
    serde_json::from_value(folder.json("accept/accept.json")).unwrap()
}

fn names(report: &AcceptReport, verdict: Verdict) -> Vec<&str> {
    let rows = report.parts.iter().flat_map(|part| &part.rows);
    let rows = rows.filter(|row| row.verdict == verdict);
    rows.map(|row| row.name.as_str()).collect()
}

#[test]
fn three_models_agree_with_the_cpu_device_and_the_report_says_so() {
    let folder = Workdir::new("accept_parity");
    let asked = [
        "accept",
        "--device=software",
        "--quick",
        "--part=parity",
        "--out=accept",
    ];
    let (stdout, progress) = folder.ok(&asked);
    println!("{progress}");
    let report = report(&folder);
    assert!(report.held && report.emulated, "{stdout}");
    assert!(!report.accepted, "five parts were not asked for");
    assert_eq!(
        report.verdict,
        "INCOMPLETE (--quick): 5 parts were not asked for; all checks of the others hold, \
         on an EMULATED device"
    );
    assert!(stdout.contains(&report.verdict), "{stdout}");
    let parts: Vec<Part> = report.parts.iter().map(|part| part.part).collect();
    assert_eq!(parts, [Part::Device, Part::Parity]);
    let held = names(&report, Verdict::Holds);
    for name in [
        "device",
        "tgn: trains",
        "tgn: gradients",
        "jodie: memory",
        "apan: mailbox",
    ] {
        assert!(held.contains(&name), "{name}: {held:?}");
    }
    let page = folder.read("accept/accept.html");
    assert!(page.contains("<b class=\"warning\">EMULATED</b>"));
    assert!(!page.contains("http"), "it needs nothing else");
    assert!(page.contains(" UTC</dd>"), "it has its date");
    assert!(progress.contains("parity:\n"), "{progress}");
    assert!(progress.contains(" s (EMULATED)\n"), "{progress}");
    assert!(
        report.quick && page.contains("<p>Parts (<b class"),
        "{page}"
    );

    // What is there is not replaced unasked.
    let refused = folder.refused(&asked);
    assert!(refused.contains("exists already"), "{refused}");
    let (json, _) = folder.ok(&[&asked[..], &["--force", "--part=device", "--json"]].concat()[..]);
    assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
}

#[test]
fn a_device_that_is_not_there_is_nothing_to_begin_with() {
    let folder = Workdir::new("accept_missing");
    let refused = folder.refused(&["accept", "--device=gpu:97", "--out=accept"]);
    assert!(refused.contains("error: --device gpu:97: "), "{refused}");
    assert!(
        refused.contains("'--device software' takes") || refused.contains("'--device gpu:0' takes"),
        "{refused}"
    );
    assert!(
        !folder.0.join("accept").exists(),
        "nothing blocks the next try"
    );

    let mut command = folder.command(&["accept", "--device=gpu", "--out=accept"]);
    let nothing = folder.0.join("no_driver.json");
    command
        .env("VK_ICD_FILENAMES", &nothing)
        .env("VK_DRIVER_FILES", &nothing);
    let (code, _, refused) = crate::workdir::run(&mut command);
    if cfg!(target_os = "linux") {
        assert_eq!(code, Some(2), "{refused}");
        assert!(
            refused.contains("no GPU is reachable") && refused.contains("install its driver"),
            "{refused}"
        );
        let set = format!("VK_ICD_FILENAMES={} is set", nothing.display());
        assert!(refused.contains(&set), "{refused}");
    }
    let mut command = folder.command(&["accept", "--device=gpu:local-rank", "--out=accept"]);
    for rank in [
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "MPI_LOCALRANKID",
        "SLURM_LOCALID",
    ] {
        command.env_remove(rank);
    }
    let (code, _, refused) = crate::workdir::run(&mut command);
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("start the ranks with mpirun"), "{refused}");
    let refused = folder.refused(&["accept", "--device=software:97", "--out=accept"]);
    assert!(refused.contains("no software adapter 97: "), "{refused}");
    let refused = folder.refused(&["accept", "--device=cpu", "--out=accept"]);
    assert!(
        refused.contains("the CPU device runs no shader"),
        "{refused}"
    );
    let mut command = folder.command(&["accept", "--device=auto", "--out=accept"]);
    command
        .env("VK_ICD_FILENAMES", &nothing)
        .env("VK_DRIVER_FILES", &nothing);
    let (code, _, refused) = crate::workdir::run(&mut command);
    if cfg!(target_os = "linux") {
        assert_eq!(code, Some(2), "{refused}");
        assert!(
            refused.contains("--device auto: no GPU is reachable"),
            "{refused}"
        );
    }
    // A device that is there, and limits that are not its own.
    let limits = ["--device=software", "--limits=alignment:4"];
    let refused = folder.refused(&[&["accept", "--out=accept"][..], &limits].concat());
    assert!(
        refused.contains("multiples of 4 bytes, and the adapter needs ")
            && refused.contains("--limits adapter"),
        "{refused}"
    );
    assert!(!folder.0.join("accept").exists());
}

#[test]
fn what_was_asked_of_the_device_is_what_the_report_shows() {
    let folder = Workdir::new("accept_asked");
    let (_, progress) = folder.ok(&[
        "accept",
        "--device=software",
        "--kernels=gpu",
        "--limits=webgpu",
        "--part=device",
        "--out=accept",
    ]);
    let report = report(&folder);
    assert_eq!(
        report.asked,
        "--device software --kernels gpu --limits webgpu"
    );
    let facts = report.parts[0].device.as_ref().unwrap();
    let ran = facts.ran.as_ref().unwrap();
    assert_eq!(ran["kernels"]["made_for"], "gpu");
    assert_eq!(ran["storage_buffers"], 8);
    let page = folder.read("accept/accept.html");
    assert!(
        page.contains(&format!("<title>mspipe on {}</title>", report.name)),
        "{page}"
    );
    assert!(!report.name.contains("--"), "{}", report.name);
    assert!(
        progress.contains("  copy of 64 MiB"),
        "it measures: {progress}"
    );
    assert!(!progress.contains("XDG_RUNTIME_DIR"), "{progress}");
}

#[test]
fn a_part_ends_with_the_program_that_waits_for_it() {
    let folder = Workdir::new("accept_orphan");
    let mut command = folder.command(&[
        "accept",
        "--device=software",
        "--part=checks",
        "--out=accept",
        "--into=checks.json",
    ]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut part = command.spawn().unwrap();
    // As the system does when the other program is killed.
    drop(part.stdin.take());
    let ended = part.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the program that waits for this part has ended"),
        "{said}"
    );
}

/// Two checks in, on a machine that needs some seconds for all of them.
#[cfg(unix)]
#[test]
fn what_was_found_before_a_signal_is_kept() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Command;

    let folder = Workdir::new("accept_interrupted");
    let mut command = folder.command(&[
        "accept",
        "--device=software",
        "--part=checks",
        "--out=accept",
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let third = lines
        .by_ref()
        .find(|line| line.as_ref().unwrap().contains("[3/"));
    assert!(third.is_some(), "it came to no third check");
    let pid = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    let said = said.join("\n");
    assert_eq!(running.wait().unwrap().code(), Some(143), "{said}");
    let report = report(&folder);
    let checks = report.parts.last().unwrap();
    assert_eq!(checks.part, Part::Checks);
    assert_eq!(checks.stopped.as_deref(), Some("interrupted"));
    assert!(checks.rows.len() >= 2, "{checks:?}");
    assert!(
        checks.rows.iter().all(|row| row.verdict == Verdict::Holds),
        "{checks:?}"
    );
    assert!(!checks.not_run.is_empty());
    assert!(!report.held && !report.accepted);
    assert!(
        report
            .verdict
            .starts_with("UNFINISHED: interrupted in the part checks, "),
        "{}",
        report.verdict
    );
    assert!(
        said.contains(&report.verdict) && said.contains("--force"),
        "{said}"
    );
    let page = folder.read("accept/accept.html");
    assert!(page.contains("Did not run (interrupted): <code>"), "{page}");
}

#[test]
fn a_report_of_another_day_is_not_taken_for_that_of_a_run_that_could_not_begin() {
    let folder = Workdir::new("accept_stale");
    std::fs::create_dir(folder.0.join("accept")).unwrap();
    for name in ["accept.json", "accept.html", "notes.txt"] {
        std::fs::write(folder.0.join("accept").join(name), "ACCEPTED").unwrap();
    }
    let asked = ["accept", "--device=software:97", "--out=accept"];
    folder.refused(&asked);
    assert_eq!(
        folder.read("accept/accept.json"),
        "ACCEPTED",
        "nobody said --force"
    );
    let refused = folder.refused(&[&asked[..], &["--force"]].concat());
    assert!(refused.contains("no software adapter 97"), "{refused}");
    let report = report(&folder);
    assert!(
        report
            .verdict
            .starts_with("UNFINISHED: it could not begin: no software adapter 97"),
        "{}",
        report.verdict
    );
    assert!(!folder.read("accept/accept.html").contains("ACCEPTED"));
    assert_eq!(folder.read("accept/notes.txt"), "ACCEPTED");

    std::fs::write(folder.0.join("accept/accept.html"), "ACCEPTED").unwrap();
    let mut command = folder.command(&["accept", "--device=software", "--force", "--out=accept"]);
    for variable in ["TMPDIR", "TEMP", "TMP"] {
        command.env(variable, folder.0.join("nowhere"));
    }
    let (code, _, refused) = crate::workdir::run(&mut command);
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("no folder for the runs in "), "{refused}");
    let verdict = self::report(&folder).verdict;
    assert!(
        verdict.starts_with("UNFINISHED: it could not begin: no folder for the runs"),
        "{verdict}"
    );
    assert!(!folder.read("accept/accept.html").contains("ACCEPTED"));
}

#[test]
fn an_unknown_device_is_answered_with_those_that_can_be_accepted() {
    let folder = Workdir::new("accept_unknown");
    let refused = folder.refused(&["accept", "--device=gpu1", "--out=accept"]);
    assert!(
        refused.contains("expected gpu, gpu:N, software or software:N, or auto for the first GPU"),
        "{refused}"
    );
}

/// A device that takes nothing.
#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_can_not_be_written_is_an_error_that_says_where_it_is() {
    let folder = Workdir::new("accept_full");
    let mut command = folder.command(&[
        "accept",
        "--device=software",
        "--part=device",
        "--out=accept",
        "--json",
    ]);
    let full = std::fs::File::options().write(true).open("/dev/full");
    command.stdout(full.unwrap()).stderr(Stdio::piped());
    let ended = command.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    let report = report(&folder);
    let expected = format!(
        "error: {}; accept/accept.json has the report: the answer can't be written to stdout: No space",
        report.verdict
    );
    assert!(said.contains(&expected), "{said}");
}

/// A kernel whose result is compared with something else.
fn a_wrong_result() {
    let found: f32 = on_device(|device| {
        let ones = Tensor::<1>::ones([70], device);
        (ones * 3.0).sum().try_into_scalar().unwrap()
    });
    mspipe_checks::within("the sum of 70 threes", f64::from(found - 209.0).abs(), 1e-6);
}

fn a_right_result() {
    let found: f32 = on_device(|device| {
        let ones = Tensor::<1>::ones([70], device);
        ones.sum().try_into_scalar().unwrap()
    });
    mspipe_checks::within("the sum of 70 ones", f64::from(found - 70.0).abs(), 1e-6);
}

#[test]
fn one_wrong_result_fails_the_whole_and_the_rest_is_checked() {
    mspipe_checks::set_device(DeviceChoice::Software(0));
    let check = |name, holds| Check { name, holds };
    let groups = [Group {
        name: "sums".to_owned(),
        expected: "the sum",
        checks: vec![
            check("right", a_right_result as fn()),
            check("wrong", a_wrong_result),
            check("right_again", a_right_result),
        ],
    }];
    let mut findings = Findings::new(Part::Checks, None);
    checks::of_groups(&groups, &mut findings).unwrap();
    let part = findings.report;
    assert!(part.not_run.is_empty(), "{part:?}");
    let verdicts: Vec<Verdict> = part.rows.iter().map(|row| row.verdict).collect();
    assert_eq!(verdicts, [Verdict::Holds, Verdict::Fails, Verdict::Holds]);
    let wrong = &part.rows[1];
    assert_eq!(wrong.name, "sums::wrong");
    assert!(
        wrong
            .found
            .starts_with("the sum of 70 threes differs by 1e0"),
        "{wrong:?}"
    );
    assert!(wrong.found.contains("accept.rs:"), "{wrong:?}");
    let (accepted, verdict) = judged(std::slice::from_ref(&part), 0);
    assert_eq!(
        (accepted, verdict.as_str()),
        (false, "FAILED: 1 of 3 checks does not hold")
    );

    let mut right = part;
    right.rows.remove(1);
    assert_eq!(
        judged(&[right.clone()], 0),
        (true, "ACCEPTED: all 2 checks hold".to_owned())
    );
    assert!(!judged(&[right.clone()], 1).0, "a part has not run");
    right.rows[0].verdict = Verdict::Fails;
    assert_eq!(
        judged(&[right], 5).1,
        "FAILED: 1 of 2 checks does not hold; UNFINISHED: 5 parts have not run"
    );
    assert!(!judged(&[], 0).0, "nothing was checked");
}

#[test]
fn every_check_is_listed_once_under_the_name_of_its_test() {
    let all = mspipe_checks::all();
    let mut names: Vec<String> = all
        .iter()
        .flat_map(|group| {
            group
                .checks
                .iter()
                .map(|check| format!("{}::{}", group.name, check.name))
        })
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in [
        "kernels::gather_rows",
        "gpu::launches::watching_takes_no_launch_of_its_own",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert!(count > 60, "{count}");
}

#[test]
fn kernels_are_timed_beside_their_bounds() {
    let mut findings = Findings::new(Part::Kernels, None);
    let device = device::open(DeviceChoice::Software(0)).unwrap().device;
    device::on_device_thread(|| kernels::of_device(&device, 100, 0.0, &mut findings))
        .unwrap()
        .unwrap();
    let times = findings.report.kernels.unwrap();
    assert!(times.rows.len() > 20);
    assert!(times.rows.iter().any(|row| row.product));
    for row in &times.rows {
        assert!(row.us > 0.0 && row.us.is_finite(), "{row:?}");
        assert!(row.bound_us > 0.0, "{row:?}");
    }
    assert_eq!(findings.report.rows.len(), times.rows.len());
    let told = |row: &Row| row.verdict == Verdict::Told;
    assert!(findings.report.rows.iter().all(told), "times are no checks");
}
