//! Why a device can't be used.

use thiserror::Error;

use super::failure::DeviceFailure;
use super::settings::DeviceChoice;

/// Why a device can't be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A GPU is asked of a program that is for the CPU alone.
    #[error(
        "--device {asked}: this program was built without the feature 'gpu', for the CPU alone; give --device cpu, or \
         take a program with it, as 'cargo build --release' makes it"
    )]
    NotBuilt {
        /// What was asked for.
        asked: DeviceChoice,
    },
    /// No launcher says which of a machine's processes this is.
    #[error(
        "--device gpu:local-rank: none of {} is set; start the ranks with mpirun or srun, or give gpu:N",
        LOCAL_RANK.join(", ")
    )]
    NoLocalRank,
    /// No real GPU under this number.
    #[error(
        "no GPU {number}: {found}; 'mspipe devices' lists what there is, '--device cpu' needs no GPU"
    )]
    NoGpu {
        /// The number asked for.
        number: usize,
        /// What is there.
        found: String,
    },
    /// No software adapter under this number.
    #[error(
        "no software adapter {number}: {found}; 'mspipe devices' lists what there is; on Debian and Ubuntu 'apt-get install \
         mesa-vulkan-drivers' brings llvmpipe, Windows has WARP"
    )]
    NoSoftware {
        /// The number asked for.
        number: usize,
        /// What is there.
        found: String,
    },
    /// The adapter lacks something.
    #[error(
        "{adapter} can't run mspipe: {reason}; try '--device cpu' or another adapter of 'mspipe devices'"
    )]
    Unfit {
        /// Its name.
        adapter: String,
        /// What it lacks.
        reason: String,
    },
    /// The limits that were asked for are not those of the adapter.
    #[error(
        "{adapter}: {reason}; give other --limits, or --limits adapter, which asks for all that it offers"
    )]
    Limits {
        /// Its name.
        adapter: String,
        /// What it does not offer.
        reason: String,
    },
    /// The driver refused to open it.
    #[error("{adapter} could not be opened: {reason}; try '--device cpu'")]
    Refused {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The device thread panicked.
    #[error("the device thread stopped: {0}")]
    Panicked(String),
    /// The device failed while it worked.
    #[error(transparent)]
    Failed(#[from] DeviceFailure),
}

/// Where launchers of MPI jobs say which of a machine's processes one is: Open MPI, MPICH and Intel, Slurm.
pub(super) const LOCAL_RANK: [&str; 3] = [
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "SLURM_LOCALID",
];
