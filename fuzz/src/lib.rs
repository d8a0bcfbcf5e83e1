//! Fuzz targets of mspipe: what is tried ([`readers`], [`weight_files`], [`checkpoint_files`]) and what it starts from
//! ([`seeds`]).

// `src/weights` of mspipe takes two number types from burn and one struct from the models. Both
// are given here, so that the readers of weights are fuzzed without building burn.
extern crate self as burn;

/// Stands for burn's module of the same name.
pub mod tensor {
    pub use half::{bf16, f16};
}

/// Stands for mspipe's module of the same name.
pub mod model {
    /// Stands for mspipe's module of the same name.
    pub mod tgl_weights {
        /// As in mspipe.
        #[derive(Debug, Clone, PartialEq)]
        pub struct NamedTensor {
            /// Lengths of its axes.
            pub shape: Vec<usize>,
            /// Its numbers, row-major.
            pub values: Vec<f32>,
        }

        /// A parameter of a model: here are no models, and so there is none.
        #[derive(Clone)]
        pub enum Unread {}

        impl Unread {
            /// As in mspipe.
            pub fn name(&self) -> &str {
                match *self {}
            }

            /// As in mspipe.
            pub fn shape(&self) -> &[usize] {
                match *self {}
            }

            /// As in mspipe.
            pub fn read(&self) -> Result<Vec<f32>, WeightError> {
                match *self {}
            }
        }

        /// Why a parameter can't be read.
        #[derive(Debug, thiserror::Error)]
        pub enum WeightError {}
    }
}

#[allow(dead_code, reason = "targets read; what writes is a run's")]
#[path = "../../src"]
mod of_mspipe {
    pub mod checkpoint;
    pub mod weights;
}
pub use of_mspipe::{checkpoint, weights};

pub mod checkpoint_files;
pub mod readers;
pub mod seeds;
pub mod weight_files;

/// libFuzzer ends at any panic, but the Parquet library's panics are caught where it is called
/// and become errors. What nobody catches still ends the fuzzer, which runs each input in
/// `catch_unwind`.
pub fn only_uncaught_panics_count() {
    std::panic::set_hook(Box::new(|_| {}));
}
