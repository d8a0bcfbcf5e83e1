//! What a training iteration costs a GPU, counted as wgpu gets it: launches by name with their workgroups,
//! writes, submissions, waits.
//!
//! cubecl tells of each launch on the thread that issues it; wgpu logs each call at its lowest level, on
//! whatever thread it comes. Counts do not depend on the machine, so a table holds the most that each may be:
//! whoever makes one smaller lowers it there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use burn::cubecl::logging::{LaunchObservation, LaunchObserver};
use burn::tensor::Device;
use clap::Parser;
use mspipe::config::RunConfig;
use mspipe::memory::MemoryStore as _;
use mspipe::memory::node_memory::NodeMemory;
use mspipe::pipeline::staleness::StalenessCounter;
use mspipe::profiler;
use mspipe::sampling::SplitPart;
use mspipe::session::Session;
use mspipe::train::epochs::TrainLoop;
use mspipe::train::iteration::Training;
use mspipe::train::pass::Pass;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};

use super::device_thread;
use crate::on_device;

/// What wgpu was asked for.
#[derive(Debug, Clone, Default)]
struct Asked {
    /// Workgroups of each launch.
    dispatches: Vec<u64>,
    writes: usize,
    submissions: usize,
    /// Times that a thread waited for the queue.
    waits: usize,
}

static LISTENING: AtomicBool = AtomicBool::new(false);
static ASKED: Mutex<Asked> = Mutex::new(Asked {
    dispatches: Vec::new(),
    writes: 0,
    submissions: 0,
    waits: 0,
});

/// What an event says, without where it was logged.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Hears what wgpu logs of its calls.
pub(super) struct Calls;

impl<S: tracing::Subscriber> Layer<S> for Calls {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if !LISTENING.load(Ordering::Relaxed) {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let Text(call) = text;
        let mut asked = ASKED.lock().unwrap();
        if let Some(groups) = call.strip_prefix("ComputePass::dispatch [") {
            let sides = groups.trim_end_matches(']').split(", ");
            let sides = sides.map(|side| side.parse::<u64>().unwrap());
            asked.dispatches.push(sides.product());
        }
        asked.writes += usize::from(call == "Queue::write_buffer");
        asked.submissions += usize::from(call == "Queue::submit");
        asked.waits += usize::from(call.starts_with("Device::poll Wait"));
    }
}

/// Names of launches, ours as our files are called, burn's as its kernels are.
#[derive(Default)]
struct Names(Mutex<Vec<(String, bool)>>);

impl LaunchObserver for Names {
    fn launched(&self, kernel: &'static str) {
        let ours = profiler::launching();
        let name = ours.map_or_else(|| last_word(kernel), str::to_owned);
        self.0.lock().unwrap().push((name, ours.is_some()));
    }
}

/// Of a type's path.
fn last_word(path: &str) -> String {
    let plain = path.split('<').next().unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain).to_owned()
}

/// What an iteration costs.
#[derive(Debug)]
struct Cost {
    /// Launches of each kernel, with the workgroups of each; ours or not.
    launches: BTreeMap<String, (bool, Vec<u64>)>,
    /// Writes of what was made of vectors, the node memory's lists among them, and their bytes.
    uploads: usize,
    bytes: u64,
    /// Writes to buffers: uploads, and sizes of launches.
    writes: usize,
    submissions: usize,
    waits: usize,
}

impl Cost {
    fn launched(&self, of: impl Fn(bool) -> bool) -> usize {
        let kernels = self.launches.values();
        kernels
            .filter(|(ours, _)| of(*ours))
            .map(|(_, groups)| groups.len())
            .sum()
    }

    /// What the table holds of it. Not the writes: sizes that cubecl has kept from iterations before are not
    /// written again, so their number depends on what the process has done.
    fn counts(&self) -> [usize; 6] {
        [
            self.launched(|_| true),
            self.launched(|ours| ours),
            self.uploads,
            self.bytes.div_ceil(1000) as usize,
            self.submissions,
            self.waits,
        ]
    }

    fn describe(&self, what: &str) -> String {
        let mut text = format!("{what}: {:?}, {} writes", self.counts(), self.writes);
        for (name, (ours, groups)) in &self.launches {
            let whose = if *ours { "ours" } else { "burn" };
            text += &format!("\n  {whose} {name} x{} groups {groups:?}", groups.len());
        }
        text
    }
}

/// Counts what `work` and its flush ask of the device.
fn counted(device: &Device, work: impl FnOnce()) -> Cost {
    let names = Arc::new(Names::default());
    let watching = LaunchObservation::new(names.clone());
    device_thread::hear(LevelFilter::TRACE);
    profiler::take();
    profiler::set_recording(true);
    *ASKED.lock().unwrap() = Asked::default();
    LISTENING.store(true, Ordering::Relaxed);
    work();
    // Waits until all is encoded, and for nothing else.
    device.flush().unwrap();
    LISTENING.store(false, Ordering::Relaxed);
    profiler::set_recording(false);
    device_thread::hear(LevelFilter::WARN);
    drop(watching);
    let (asked, recorded) = (ASKED.lock().unwrap().clone(), profiler::take());
    let names = names.0.lock().unwrap().clone();
    assert_eq!(names.len(), asked.dispatches.len(), "{names:?}");
    let mut launches: BTreeMap<String, (bool, Vec<u64>)> = BTreeMap::new();
    for ((name, ours), groups) in names.into_iter().zip(asked.dispatches) {
        let of_name = launches.entry(name).or_insert((ours, Vec::new()));
        of_name.1.push(groups);
    }
    let uploads = recorded.operations.iter().find(|of| of.name == "upload");
    Cost {
        launches,
        uploads: uploads.map_or(0, |of| of.calls as usize),
        // Read and written.
        bytes: uploads.map_or(0, |of| of.work.bytes / 2),
        writes: asked.writes,
        submissions: asked.submissions,
        waits: asked.waits,
    }
}

/// The program's options.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: RunConfig,
}

/// Runs an iteration, all five stages.
fn iterate(
    training: &mut TrainLoop,
    staleness: &mut StalenessCounter,
    pass: &Pass,
    iteration: usize,
) {
    let autodiff = training.evaluator.device.clone().autodiff();
    let NodeMemory::Device(memory) = &mut training.memory else {
        unreachable!("asked for memory on the device");
    };
    let trained = (&mut training.trainer, &autodiff);
    let mut work = Training::new(trained, pass, staleness, None);
    (work.first_iteration, work.iterations) = (0, usize::MAX);
    let prepared = pass.fetch_features(pass.sample(iteration).unwrap());
    let fetched = pass.fetch_memory(prepared, &**memory, &autodiff);
    let commit = work.train(iteration, fetched).unwrap();
    memory.commit(commit).unwrap();
}

/// An iteration in the middle of a stream like Wikipedia's, with random edge features of its width.
fn of_an_iteration(model: &'static str, batch: usize, features: &str) -> Cost {
    // Ten slots of all nodes are more than llvmpipe binds.
    let slots = if model == "apan" {
        "--mail-slots 8"
    } else {
        ""
    };
    let options = format!(
        "mspipe --data synthetic:wikipedia --edge-features random:172 --limit-events 30000 --model {model} \
         --batch-size {batch} --memory device --features {features} {slots}"
    );
    let config = Options::try_parse_from(options.split_whitespace());
    let session = Session::open(config.unwrap_or_else(|error| panic!("{error}")).config).unwrap();
    on_device(move |device| {
        let mut training = session.training(device).unwrap();
        let mut staleness = training.new_staleness();
        let pass = training.evaluator.pass(SplitPart::Train, 1);
        let middle = pass.iterations() / 2;
        // The first compiles kernels and makes what is made once.
        for iteration in middle - 2..middle {
            iterate(&mut training, &mut staleness, &pass, iteration);
        }
        device.sync().unwrap();
        counted(device, || {
            iterate(&mut training, &mut staleness, &pass, middle)
        })
    })
}

/// The most of an iteration: model, events of a batch; launches, ours among them; uploads and their
/// thousands of bytes; submissions, waits.
type Most = (&'static str, usize, [usize; 6]);

/// With the kernels of a GPU, whether slices begin at multiples of 64 or of 256 bytes. Of 512 launches one is waited for, wherever it falls.
const GPU: [Most; 9] = [
    ("tgn", 200, [42, 41, 3, 1459, 2, 1]),
    ("tgn", 600, [42, 41, 3, 3309, 2, 1]),
    ("tgn", 4000, [43, 42, 3, 10_314, 2, 1]),
    ("jodie", 200, [24, 23, 3, 182, 2, 1]),
    ("jodie", 600, [24, 23, 3, 534, 2, 1]),
    ("jodie", 4000, [24, 23, 3, 3454, 2, 1]),
    ("apan", 200, [35, 32, 3, 274, 2, 1]),
    ("apan", 600, [35, 32, 3, 808, 2, 1]),
    ("apan", 4000, [35, 32, 3, 5274, 2, 1]),
];

/// With those of a software adapter, which makes each product in a launch of its own.
const SOFTWARE: [Most; 6] = [
    ("tgn", 200, [65, 64, 3, 1459, 3, 1]),
    ("tgn", 600, [65, 64, 3, 3309, 3, 1]),
    ("tgn", 4000, [67, 66, 3, 10_314, 3, 1]),
    ("jodie", 200, [35, 34, 3, 182, 2, 1]),
    ("jodie", 600, [35, 34, 3, 534, 2, 1]),
    ("jodie", 4000, [35, 34, 3, 3454, 2, 1]),
];

fn is_within(model: &'static str) {
    let of_model = |most: &[Most]| -> Vec<Most> {
        let of_model = most.iter().filter(|(of, ..)| *of == model);
        of_model.copied().collect()
    };
    // Opens the device.
    on_device(|_| ());
    let most = match device_thread::kernels().made_for {
        "gpu" => of_model(&GPU),
        _ => of_model(&SOFTWARE),
    };
    let mut more = Vec::new();
    for (model, batch, most) in most {
        let cost = of_an_iteration(model, batch, "host");
        let what = format!("{model} with batches of {batch}, at most {most:?}");
        println!("{}", cost.describe(&what));
        if cost
            .counts()
            .iter()
            .zip(&most)
            .any(|(count, most)| count > most)
        {
            more.push(cost.describe(&what));
        }
    }
    assert!(more.is_empty(), "{}", more.join("\n"));
}

#[test]
fn an_iteration_of_tgn_asks_for_no_more_than_before() {
    is_within("tgn");
}

#[test]
fn an_iteration_of_jodie_asks_for_no_more_than_before() {
    is_within("jodie");
}

#[test]
fn an_iteration_of_apan_asks_for_no_more_than_before() {
    is_within("apan");
}

/// Rows of edge features that come with a batch are written to the table on the device in one launch more than it takes
/// where all rows are there, with fewer bytes than where none is.
#[test]
fn a_part_of_the_features_on_the_device_takes_a_launch_and_saves_bytes() {
    // Of 20.6 MB: more than a batch reads.
    const PART: &str = "device:15MB";
    let [host, part, whole] =
        ["host", PART, "device"].map(|features| of_an_iteration("tgn", 600, features));
    for (cost, features) in [
        (&host, "in RAM"),
        (&part, "in part"),
        (&whole, "on the device"),
    ] {
        println!("{}", cost.describe(&format!("features {features}")));
    }
    let [of_host, of_part, of_whole] = [&host, &part, &whole].map(Cost::counts);
    assert_eq!(of_part[0], of_whole[0] + 1, "launches");
    assert_eq!(part.launches["place_rows"].1.len(), 1);
    assert!(
        of_part[2] <= of_whole[2] && of_whole[2] <= of_host[2],
        "uploads"
    );
    let bytes = [whole.bytes, part.bytes, host.bytes];
    assert!(bytes.is_sorted_by(|fewer, more| fewer < more), "{bytes:?}");
    assert!(of_part[4] <= of_host[4] && of_part[5] <= 1, "waits");
}
