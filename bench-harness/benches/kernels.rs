//! Kernels, burn's own operations for the same, and products, with their inputs on the device.

use anyhow::Result;
use mspipe::profiler::Work;
use mspipe_bench::kernels::{Case, kernels, of_burn, products};

use crate::suite::{Limit, Prepared, Suite, on_device};

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    let device = suite.device().device.clone();
    let mut of_burn = of_burn(1, &device);
    for Case { name, work, run } in kernels(1, &device) {
        bench(suite, "kernels", name, work, run)?;
        let same = of_burn.iter().position(|(kernel, _)| *kernel == name);
        if let Some((_, run)) = same.map(|at| of_burn.swap_remove(at)) {
            bench(suite, "kernels", &format!("{name} (burn's)"), work, run)?;
        }
    }
    let mut products = products(1, &device).into_iter();
    products.try_for_each(|case| bench(suite, "products", case.name, case.work, case.run))
}

fn bench(
    suite: &mut Suite,
    group: &'static str,
    name: &str,
    work: Work,
    run: Box<dyn FnMut()>,
) -> Result<()> {
    suite.bench(group, name, |device| {
        Ok(Prepared {
            run: on_device(run, device),
            work: Some(work),
            items: None,
            bound: Limit::Work,
        })
    })
}
