//! What an iteration should take by what it asks for, and what bounds it.
//!
//! Launches take what the host and the driver need for each, even an empty one. Kernels take as long as their bytes or
//! their arithmetic, whichever is more of each operation; copies to the device share their queue. The host
//! enqueues while the queue works, so that an iteration takes the longer of the two. Kernels that can't fill the device and
//! work of the host that is no launch are not in it: what a measured time has beyond it is what is left to gain. Nor is
//! what suits a device better than the product and the copy that were measured, so that a time may be shorter.

use std::fmt;

use mspipe::profiler::{Kind, Recorded};
use serde::{Deserialize, Serialize};

/// A GPU by its public specification.
#[derive(Debug, Clone, Copy)]
pub struct Specified {
    /// Its name.
    pub name: &'static str,
    /// What it reaches at best.
    pub rates: Reached,
}

/// What a device reaches.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// 10^9 bytes per second of its memory, read and written ones.
    pub memory_gb_per_s: f64,
    /// 10^9 operations per second in f32.
    pub gflops: f64,
    /// 10^9 bytes per second from the host to it.
    pub upload_gb_per_s: f64,
    /// Microseconds from one launch to the next where neither has anything to do.
    pub launch_us: f64,
}

/// Microseconds of a launch through Vulkan: the least of what Maczan measured of WebGPU's implementations on GPUs
/// of four vendors, 24 to 36 (arXiv 2604.02344).
const PUBLISHED_LAUNCH_US: f64 = 24.0;

/// GPUs that predictions are made for, by their makers' specifications: the peak of f32 without tensor cores,
/// the bandwidth of the memory without caches, and that of PCIe in one direction. Nothing here was measured.
///
/// | | f32: operations a clock x boost clock | memory: width x rate |
/// |---|---|---|
/// | Radeon RX 7600 (AMD's product page) | 2,048 x 4 x 2.655 GHz | 128 bit x 18 Gbit/s |
/// | GeForce RTX 4060 (NVIDIA's product page) | 3,072 x 2 x 2.46 GHz | 128 bit x 17 Gbit/s |
/// | A100 PCIe 40 GB (NVIDIA's product brief PB-10137-001) | 6,912 x 2 x 1.41 GHz | 5,120 bit x 2.43 Gbit/s |
///
/// A lane of PCIe 4.0 has 16 Gbit/s, of which 128 of 130 bits are data: 15.75 GB/s with 8 of them, 31.5 with 16.
pub const SPECIFIED: [Specified; 3] = [
    Specified {
        name: "AMD Radeon RX 7600",
        rates: Reached {
            memory_gb_per_s: 288.0,
            gflops: 21_750.0,
            upload_gb_per_s: 15.75,
            launch_us: PUBLISHED_LAUNCH_US,
        },
    },
    Specified {
        name: "NVIDIA GeForce RTX 4060",
        rates: Reached {
            memory_gb_per_s: 272.0,
            gflops: 15_110.0,
            upload_gb_per_s: 15.75,
            launch_us: PUBLISHED_LAUNCH_US,
        },
    },
    Specified {
        name: "NVIDIA A100 40 GB",
        rates: Reached {
            memory_gb_per_s: 1_555.0,
            gflops: 19_500.0,
            upload_gb_per_s: 31.5,
            launch_us: PUBLISHED_LAUNCH_US,
        },
    },
];

/// What an iteration asks of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Bytes and floating-point operations of each operation that is no upload.
    pub operations: Vec<[f64; 2]>,
    /// Bytes from the host to the device.
    pub upload_bytes: f64,
    /// Launches of our shaders.
    pub launches: f64,
}

impl Load {
    /// Of an iteration, of so many that were recorded.
    pub fn of(recorded: &Recorded, iterations: usize) -> Load {
        let each = iterations.max(1) as f64;
        let uploads = recorded
            .operations
            .iter()
            .filter(|total| total.kind == Kind::Upload);
        let others = recorded
            .operations
            .iter()
            .filter(|total| total.kind != Kind::Upload);
        Load {
            operations: others
                .map(|total| {
                    [
                        total.work.bytes as f64 / each,
                        total.work.flops as f64 / each,
                    ]
                })
                .collect(),
            upload_bytes: uploads.map(|total| total.work.bytes as f64).sum::<f64>() / each,
            launches: recorded.launches as f64 / each,
        }
    }
}

/// What bounds an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The host, which enqueues launches.
    Launches,
    /// The bytes that kernels read and write.
    Memory,
    /// The arithmetic of kernels.
    Arithmetic,
    /// The bytes that cross the bus.
    Copies,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Launches => "launches",
            Bound::Memory => "memory",
            Bound::Arithmetic => "arithmetic",
            Bound::Copies => "copies",
        })
    }
}

/// Milliseconds that an iteration should take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// All of it.
    pub iteration_ms: f64,
    /// The host: its launches.
    pub launches_ms: f64,
    /// Operations that wait for memory.
    pub memory_ms: f64,
    /// Operations that wait for arithmetic.
    pub arithmetic_ms: f64,
    /// Copies to the device.
    pub copies_ms: f64,
    /// What takes longest in what takes longer, host or queue.
    pub bound: Bound,
}

impl Predicted {
    /// Of `load` on a device that reaches so much.
    pub fn of(load: &Load, reached: Reached) -> Predicted {
        let (mut memory_ms, mut arithmetic_ms) = (0.0, 0.0);
        for [bytes, flops] in &load.operations {
            let moved = bytes / reached.memory_gb_per_s / 1e6;
            let computed = flops / reached.gflops / 1e6;
            match moved >= computed {
                true => memory_ms += moved,
                false => arithmetic_ms += computed,
            }
        }
        let copies_ms = load.upload_bytes / reached.upload_gb_per_s / 1e6;
        let launches_ms = load.launches * reached.launch_us / 1e3;
        let queue_ms = memory_ms + arithmetic_ms + copies_ms;
        let longest = [
            (memory_ms, Bound::Memory),
            (arithmetic_ms, Bound::Arithmetic),
            (copies_ms, Bound::Copies),
        ]
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0));
        Predicted {
            iteration_ms: queue_ms.max(launches_ms),
            launches_ms,
            memory_ms,
            arithmetic_ms,
            copies_ms,
            bound: match longest {
                Some((_, bound)) if queue_ms >= launches_ms => bound,
                _ => Bound::Launches,
            },
        }
    }
}

/// What an iteration should take on a GPU that is not here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The GPU's name.
    pub gpu: String,
    /// The model.
    pub model: String,
    /// Events per batch.
    pub batch_size: usize,
    /// The kernels whose launches and bytes are counted: `gpu`, or `software`, of which there are more.
    pub kernels: String,
    /// Launches of our shaders.
    pub launches: f64,
    /// What they should take by the published peaks.
    pub predicted: Predicted,
    /// Training events per second at that.
    pub events_per_s: f64,
}

impl Elsewhere {
    /// What `load`, an iteration of `model` with batches of `batch` by these kernels, should take on each of
    /// [`SPECIFIED`].
    pub fn of(load: &Load, model: &str, batch: usize, kernels: &str) -> Vec<Elsewhere> {
        let on = |gpu: Specified| {
            let predicted = Predicted::of(load, gpu.rates);
            Elsewhere {
                gpu: gpu.name.to_owned(),
                model: model.to_owned(),
                batch_size: batch,
                kernels: kernels.to_owned(),
                launches: load.launches,
                predicted,
                events_per_s: 1e3 * batch as f64 / predicted.iteration_ms,
            }
        };
        SPECIFIED.map(on).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACHED: Reached = Reached {
        memory_gb_per_s: 100.0,
        gflops: 1_000.0,
        upload_gb_per_s: 10.0,
        launch_us: 20.0,
    };

    fn load() -> Load {
        Load {
            // 3 ms of memory against 1 of arithmetic, and 1 against 4.
            operations: vec![[3e8, 1e9], [1e8, 4e9]],
            upload_bytes: 2e7,
            launches: 50.0,
        }
    }

    #[test]
    fn an_operation_takes_what_is_more_and_copies_are_added() {
        let predicted = Predicted::of(&load(), REACHED);
        assert_eq!(predicted.memory_ms, 3.0);
        assert_eq!(predicted.arithmetic_ms, 4.0);
        assert_eq!(predicted.copies_ms, 2.0);
        assert_eq!(predicted.launches_ms, 1.0);
        assert_eq!(predicted.iteration_ms, 9.0);
        assert_eq!(predicted.bound, Bound::Arithmetic);
    }

    #[test]
    fn a_fast_device_waits_for_the_host() {
        let fast = Reached {
            memory_gb_per_s: 1e5,
            gflops: 1e6,
            upload_gb_per_s: 1e3,
            launch_us: 20.0,
        };
        let predicted = Predicted::of(&load(), fast);
        assert_eq!(predicted.bound, Bound::Launches);
        assert_eq!(predicted.iteration_ms, 1.0);
    }

    #[test]
    fn a_load_is_that_of_one_iteration() {
        use mspipe::profiler::{Total, Work};
        let total = |kind, bytes, flops| Total {
            name: "x",
            kind,
            calls: 2,
            launches: 0,
            time: std::time::Duration::ZERO,
            work: Work { bytes, flops },
        };
        let recorded = Recorded {
            operations: vec![total(Kind::Kernel, 8, 6), total(Kind::Upload, 10, 0)],
            launches: 4,
            ..Recorded::default()
        };
        let load = Load::of(&recorded, 2);
        assert_eq!(load.operations, [[4.0, 3.0]]);
        assert_eq!((load.upload_bytes, load.launches), (5.0, 2.0));
    }
}
