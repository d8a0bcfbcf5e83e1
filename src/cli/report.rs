//! What `train` and `eval` print of a session and of its metrics.

use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use mspipe::config::{RunConfig, name_of};
use mspipe::device::{self, ComputeDevice};
use mspipe::eval::edgebank::WINDOW_PERCENT;
use mspipe::eval::{LinkMetrics, Negatives, RankMetrics, Spread};
use mspipe::pipeline::link::Link;
use mspipe::pipeline::staleness::{StaleMemory, percent, stale_rows};
use mspipe::run_folder::{Comparison, OverSeeds};
use mspipe::session::Session;
use mspipe::session::footprint::Footprint;
use mspipe::train::metrics::{BankMetrics, CountsMetrics, EdgeBankMetrics, TestMetrics};
use mspipe::train::observer::EpochRecord;
use mspipe::{console, numbers};

/// Said wherever numbers of a generated stream end.
pub(super) const SYNTHETIC: &str =
    "These numbers are of a SYNTHETIC stream and say nothing about the real data set.";

/// Said wherever times of a run over an emulated bus stand.
pub(super) fn emulated(link: &Link) -> String {
    format!(
        "link      EMULATED link of {link}: transfers sleep; times and events/s are not those of \
         this machine's bus"
    )
}

/// Said wherever times of a run on an adapter end that is no GPU.
pub(super) const EMULATED: &str =
    "These times and events/s are of an EMULATED GPU and say nothing of a real one.";

/// What staleness did to the memory of a run.
pub(super) fn stale_memory(
    counts: &StaleMemory,
    updater_rows: u64,
    corrected_rows: Option<u64>,
) -> String {
    let corrected = corrected_rows.map_or_else(String::new, |rows| {
        format!("; the mitigation corrected {} rows", HumanCount(rows))
    });
    let of = |part: u64, whole: u64, what: &str| {
        format!(
            "{:.1} % of {} {what}",
            percent(part, whole),
            HumanCount(whole)
        )
    };
    let stale = |by_lacking: &[u64], what| {
        let (rows, stale) = stale_rows(by_lacking);
        of(stale, rows, what)
    };
    format!(
        "memory    stale: {}, {}; lost: {}; the updater ran {} times{corrected}",
        stale(&counts.rows_read, "rows read"),
        stale(&counts.rows_written, "rows written"),
        of(
            counts.mail_lost,
            counts.mail_overwritten,
            "pieces of mail overwritten"
        ),
        HumanCount(updater_rows)
    )
}

/// Stream, split and device.
pub(super) fn head(session: &Session, device: &ComputeDevice) -> String {
    let data = &session.data;
    let kind = if data.synthetic {
        " (SYNTHETIC: generated, not observed)"
    } else {
        ""
    };
    let count = |events: &std::ops::Range<usize>| HumanCount(events.len() as u64);
    let split = &session.split;
    let mut text = format!(
        "stream    {}{kind}: {} events, {} nodes, features: {} per event, {} per node\n\
         split     {} training, {} validation, {} test events\n\
         device    {}: {}\n\
         protocol  {}",
        data.name,
        HumanCount(data.events as u64),
        HumanCount(data.nodes as u64),
        data.edge_width,
        data.node_width,
        count(&split.train),
        count(&split.val),
        count(&split.test),
        device.backend,
        device.adapter,
        protocol(session.config())
    );
    let training = &session.config().training;
    if let Some(ranks) = training.ranks {
        text.push_str(&format!(
            "\nranks     {}",
            ranks.in_words(training.batch_events())
        ));
    }
    if let Some(together) = &session.together {
        text.push_str(&format!("\nmachine   {together}"));
    }
    for note in notes(session, device) {
        text.push_str(&format!("\nnote      {note}"));
    }
    if let Some(init) = &session.config().start.init {
        text.push_str(&format!("\nweights   {}", init.display()));
    }
    text
}

/// What the user should know of a session on a device.
pub(super) fn notes(session: &Session, device: &ComputeDevice) -> Vec<String> {
    let auto = device::auto_note(session.config().device.choice, device);
    session.notes.iter().cloned().chain(auto).collect()
}

/// What the user should know, where it is not in what is printed.
pub(super) fn say_notes(notes: &[String]) {
    for note in notes {
        console::note(format!("note: {note}"));
    }
}

/// What the numbers are measured under.
fn protocol(config: &RunConfig) -> String {
    let hidden = match config.protocol.hides_batch().is_on() {
        true => "hidden from",
        false => "visible to",
    };
    let mut text = format!(
        "{}; events of a batch {hidden} one another; evaluations draw from seed {}",
        name_of(&config.protocol.name),
        config.eval_seed()
    );
    if let Some(candidates) = &config.protocol.candidates {
        text.push_str(&format!("; candidates {candidates}"));
    }
    text
}

/// The memory that a run needs, by share.
pub(super) fn footprint(footprint: &Footprint) -> String {
    let device = match &footprint.adapter {
        None => "the CPU".to_owned(),
        Some(adapter) if footprint.device_is_ram => {
            format!("{adapter}\n  (whose memory is RAM)")
        }
        Some(adapter) if footprint.adapter_bytes.is_none() => {
            format!("{adapter}\n  (whose driver does not tell how much memory it has)")
        }
        Some(adapter) => adapter.clone(),
    };
    format!("training on {device}\n{footprint}\n")
}

/// What an epoch gave.
pub(super) fn epoch(epoch: usize, record: &EpochRecord) -> String {
    format!(
        "epoch {epoch:<3} loss {}  val {}  {} events/s, {}",
        numbers::four(record.train_loss),
        metrics(&record.val),
        HumanCount(record.events_per_s as u64),
        HumanDuration(Duration::from_secs_f64(record.train_seconds)),
    )
}

/// Metrics in one line.
pub(super) fn metrics(metrics: &LinkMetrics) -> String {
    let mut line = format!(
        "AP {:.4} (batch mean {:.4}) AUC {:.4}",
        metrics.ap, metrics.ap_batch_mean, metrics.auc
    );
    if let Some(ranking) = &metrics.ranking {
        let RankMetrics {
            mrr,
            hits,
            candidates,
            batch_hidden,
            ..
        } = ranking;
        let batch = match batch_hidden {
            true => "hidden",
            false => "visible",
        };
        line += &format!(" MRR {mrr:.4} {hits} among {candidates:.0} candidates, batch {batch}");
    }
    if metrics.equal_scores {
        line.push_str(", WARNING: all scores are equal");
    }
    line
}

/// Metrics of the events with a new node, and how many there are, in one line.
pub(super) fn inductive(metrics: &LinkMetrics) -> String {
    let of = &metrics.inductive;
    let (Some(ap), Some(auc)) = (of.ap, of.auc) else {
        return "no event with a node that training never saw".to_owned();
    };
    let ranking = metrics
        .ranking
        .and_then(|ranking| ranking.inductive_mrr.zip(ranking.inductive_hits));
    format!(
        "AP {ap:.4} AUC {auc:.4}{} over {} events with {} nodes that training never saw",
        ranking.map_or(String::new(), |(mrr, hits)| format!(" MRR {mrr:.4} {hits}")),
        HumanCount(of.events as u64),
        HumanCount(of.new_nodes as u64)
    )
}

/// The test with each pool of negatives, both EdgeBanks and the counting baseline.
pub(super) fn test(
    test: &TestMetrics,
    edgebank: &EdgeBankMetrics,
    counts: &CountsMetrics,
    with: &str,
) -> String {
    let own = Some((&test.own_pool, with));
    let others = [
        Some(&test.other_pool),
        test.historical.as_ref(),
        test.inductive.as_ref(),
    ];
    let others = others.into_iter().map(|pool| pool.map(|pool| (pool, "")));
    let mut lines: Vec<String> = [own]
        .into_iter()
        .chain(others)
        .flatten()
        .map(|(of, with)| {
            format!(
                "test      {}{with}, negatives from {}\n\u{20} new     {}",
                metrics(of),
                of.negatives,
                inductive(of)
            )
        })
        .collect();
    let other = test.other_pool.negatives;
    lines.push(bank(
        "unlimited",
        &edgebank.unlimited,
        other,
        "no learning: has the pair been seen?",
    ));
    let window = format!("likewise, within {WINDOW_PERCENT} % of the training part's time?");
    lines.push(bank("window", &edgebank.window, other, &window));
    if let Some(dyglib) = &edgebank.dyglib {
        let recent = format!("DyGLib's: likewise, among the last {WINDOW_PERCENT} % of events?");
        for (name, of, what) in [
            ("recent events", &dyglib.recent_events, &*recent),
            (
                "repeat interval",
                &dyglib.repeat_interval,
                "DyGLib's: likewise, within the mean time that pairs take to repeat?",
            ),
            (
                "repeat threshold",
                &dyglib.repeat_threshold,
                "DyGLib's: has it been seen as often as pairs are on average?",
            ),
        ] {
            lines.push(bank(name, of, other, what));
        }
    }
    lines.push(counting(counts));
    lines.join("\n")
}

fn counting(counts: &CountsMetrics) -> String {
    let test = &counts.test;
    let others = [
        Some(&test.other_pool),
        test.historical.as_ref(),
        test.inductive.as_ref(),
    ];
    let others = others.into_iter().flatten();
    let others: Vec<String> = others
        .map(|of| format!("AP {:.4} with negatives from {}", of.ap, of.negatives))
        .collect();
    let validation = counts.val.as_ref();
    let validation =
        validation.map_or_else(String::new, |of| format!("{} on validation; ", metrics(of)));
    format!(
        "counts    {validation}{} on test; {} (counting baseline: logistic regression on the \
         pair's history, no network)",
        metrics(&test.own_pool),
        others.join(", ")
    )
}

/// Each measure of the test over several seeds.
pub(super) fn over_seeds(all: &OverSeeds) -> String {
    let seeds: Vec<String> = all.seeds.iter().map(u64::to_string).collect();
    let mut lines = vec![
        format!("seeds     {}", seeds.join(", ")),
        format!(
            "{:<34} {:<17} 95 % interval of the mean (bootstrap over seeds)",
            "measure", "mean ± deviation"
        ),
    ];
    for (name, of) in &all.measures {
        lines.push(format!(
            "{name:<34} {:<17} {}",
            of.to_string(),
            interval(of)
        ));
    }
    if all.data.synthetic {
        lines.push(SYNTHETIC.to_owned());
    }
    lines.join("\n")
}

/// Two settings side by side.
pub(super) fn comparison(of: &Comparison) -> String {
    let seeds: Vec<String> = of.seeds.iter().map(u64::to_string).collect();
    let mut lines = vec![format!("seeds     {}", seeds.join(", "))];
    let differ = of.differ.iter().map(|of| format!("differs   {of}"));
    lines.extend(differ);
    lines.push(format!(
        "{:<34} {:<17} {:<17} {:<18} 95 % interval of the difference",
        "measure", "one", "other", "other - one"
    ));
    for (name, [one, other, difference]) in &of.measures {
        lines.push(format!(
            "{name:<34} {:<17} {:<17} {:<18} {}",
            one.to_string(),
            other.to_string(),
            difference.to_string(),
            interval(difference)
        ));
    }
    if of.synthetic {
        lines.push(SYNTHETIC.to_owned());
    }
    lines.join("\n") + "\n"
}

fn interval(of: &Spread) -> String {
    match of.interval {
        Some([low, high]) => format!("{low:.4} to {high:.4}"),
        None => "- (one seed)".to_owned(),
    }
}

fn bank(name: &str, of: &BankMetrics, other: Negatives, what: &str) -> String {
    let on = |val: Option<String>, test: String| {
        let val = val.map_or(String::new(), |val| format!("{val} on validation, "));
        format!("{val}{test} on test")
    };
    let number = |of: f64| format!("{of:.4}");
    let mut line = format!(
        "EdgeBank  {name}: AP {}, {:.4} with negatives from {other}",
        on(of.val_ap.map(number), number(of.test_ap)),
        of.test_other_pool_ap
    );
    for (ap, negatives) in [
        (of.test_historical_ap, Negatives::Historical),
        (of.test_inductive_ap, Negatives::Inductive),
    ] {
        if let Some(ap) = ap {
            line.push_str(&format!(", {ap:.4} from {negatives}"));
        }
    }
    if let Some(test) = of.test_mrr {
        let mrr = on(of.val_mrr.map(number), number(test));
        line.push_str(&format!("; MRR {mrr}, batch hidden"));
    }
    if let Some(hits) = of.test_hits {
        line.push_str(&format!(" with {hits}"));
    }
    line + &format!(" ({what})")
}
