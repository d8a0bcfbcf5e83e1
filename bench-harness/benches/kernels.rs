//! Kernels and products, with their inputs on the device.

use anyhow::Result;
use mspipe_bench::kernels::{Case, kernels_and_products};

use crate::suite::{Limit, Prepared, Suite, on_device};

pub(crate) fn measure(suite: &mut Suite) -> Result<()> {
    let [kernels, products] = kernels_and_products(&suite.device().device);
    for (group, cases) in [("kernels", kernels), ("products", products)] {
        for Case { name, work, run } in cases {
            suite.bench(group, name, |device| {
                Ok(Prepared {
                    run: on_device(run, device),
                    work: Some(work),
                    items: None,
                    bound: Limit::Work,
                })
            })?;
        }
    }
    Ok(())
}
