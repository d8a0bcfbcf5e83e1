//! Which kernels an adapter runs, as one value: how matrices are multiplied, how many invocations share a
//! row and a dot product, whether loops stay loops.
//!
//! The class of the adapter decides, or the user (`--kernels`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an adapter is, those that train fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterClass {
    /// A card with memory of its own.
    Discrete,
    /// A GPU that shares the RAM.
    Integrated,
    /// A GPU that a hypervisor hands over.
    Virtual,
    /// The driver does not say.
    Other,
    /// A program on the CPU (llvmpipe, SwiftShader, WARP).
    Software,
}

impl fmt::Display for AdapterClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterClass::Discrete => "discrete",
            AdapterClass::Integrated => "integrated",
            AdapterClass::Virtual => "virtual",
            AdapterClass::Other => "other",
            AdapterClass::Software => "software",
        })
    }
}

/// What the user asked for with `--kernels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelChoice {
    /// Those for the adapter's class.
    #[default]
    Auto,
    /// Those for a GPU.
    Gpu,
    /// Those for a software adapter.
    Software,
}

impl KernelChoice {
    /// The kernels for an adapter of this class.
    pub const fn on(self, class: AdapterClass) -> Kernels {
        match (self, class) {
            (KernelChoice::Gpu, _) => GPU,
            (KernelChoice::Software, _) | (KernelChoice::Auto, AdapterClass::Software) => SOFTWARE,
            (KernelChoice::Auto, _) => GPU,
        }
    }
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(KernelChoice::Auto),
            "gpu" => Ok(KernelChoice::Gpu),
            "software" => Ok(KernelChoice::Software),
            _ => Err(format!("found '{text}', expected auto, gpu or software")),
        }
    }
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KernelChoice::Auto => "auto",
            KernelChoice::Gpu => "gpu",
            KernelChoice::Software => "software",
        })
    }
}

/// Who takes a part of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProductsBy {
    /// A workgroup, which reads into its memory: `product_tiled.wgsl`.
    Workgroup,
    /// An invocation, in registers: `product.wgsl` and `column_sums.wgsl`.
    Invocation,
}

/// What kernels are launched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kernels {
    /// What they are made for: `gpu` or `software`.
    pub made_for: &'static str,
    /// Who takes a part of a matrix product.
    pub products: ProductsBy,
    /// Most invocations of a workgroup that takes one row together.
    pub row_workgroup: u32,
    /// Most invocations that share a dot product of the attention.
    pub lanes: u32,
    /// Whether loops over heads and columns stay loops in the shader's text.
    pub rolled: bool,
}

/// For a real GPU.
pub(crate) const GPU: Kernels = Kernels {
    made_for: "gpu",
    products: ProductsBy::Workgroup,
    row_workgroup: 128,
    lanes: 32,
    rolled: false,
};

/// For a software adapter, which runs eight invocations at a time, pays for each barrier beyond them,
/// and compiles slowly (`shaders/README.md`).
pub(crate) const SOFTWARE: Kernels = Kernels {
    made_for: "software",
    products: ProductsBy::Invocation,
    row_workgroup: 8,
    lanes: 8,
    rolled: true,
};

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let products = match self.products {
            ProductsBy::Workgroup => "products by workgroups",
            ProductsBy::Invocation => "products by invocations",
        };
        let loops = if self.rolled { "rolled" } else { "unrolled" };
        write!(
            f,
            "{}: {products}, up to {} invocations to a row, {} to a dot product, loops {loops}",
            self.made_for, self.row_workgroup, self.lanes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_as_they_print() {
        for choice in [
            KernelChoice::Auto,
            KernelChoice::Gpu,
            KernelChoice::Software,
        ] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let refused = "cuda".parse::<KernelChoice>().unwrap_err();
        assert_eq!(refused, "found 'cuda', expected auto, gpu or software");
    }

    #[test]
    fn a_class_has_its_kernels_and_the_user_may_take_others() {
        use AdapterClass::{Discrete, Integrated, Other, Software, Virtual};
        for class in [Discrete, Integrated, Virtual, Other] {
            assert_eq!(KernelChoice::Auto.on(class), GPU, "{class:?}");
        }
        assert_eq!(KernelChoice::Auto.on(Software), SOFTWARE);
        for class in [Discrete, Integrated, Virtual, Other, Software] {
            assert_eq!(KernelChoice::Gpu.on(class), GPU);
            assert_eq!(KernelChoice::Software.on(class), SOFTWARE);
        }
    }

    /// Software adapters run eight invocations as one and pay for each barrier; a GPU's 32 lanes make a
    /// subgroup. Another number is another measurement (`shaders/README.md`).
    #[test]
    fn constants_are_those_that_were_measured() {
        assert_eq!(
            GPU.to_string(),
            "gpu: products by workgroups, up to 128 invocations to a row, 32 to a dot product, loops unrolled"
        );
        assert_eq!(
            SOFTWARE.to_string(),
            "software: products by invocations, up to 8 invocations to a row, 8 to a dot product, loops rolled"
        );
        for kernels in [GPU, SOFTWARE] {
            assert!(kernels.lanes.is_power_of_two() && kernels.row_workgroup.is_power_of_two());
            assert!(kernels.lanes <= kernels.row_workgroup && kernels.row_workgroup <= 256);
        }
    }
}
