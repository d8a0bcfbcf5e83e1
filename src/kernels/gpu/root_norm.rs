//! Launches of what JODIE and APAN make of node rows for the roots: one forward, in the backward one for the rows and one
//! for the sums of their shares. Where a row has many roots, the backward is several launches, which sum these in pieces.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::memories::part;
use super::products::{column_sums, strided_sums};
use super::wgsl::{self, KernelSpec, ROWS, TOTAL};
use crate::kernels::choice::SOFTWARE;
use crate::kernels::costs;
use crate::kernels::cpu::output_norm::EPSILON;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::output_norm::{BeforeNorm, OutputNorm};
use crate::kernels::packing::ALIGNED;
use crate::kernels::root_norm::{NormInputs, NormOutput, NormRoots, RootNorm};
use crate::profiler::{self, Kind};

const VARIANTS: &[&[(&str, u32)]] = &[
    &[("WIDTH", 100), ("WORKGROUP", 64), ("PROJECTED", 1)],
    &[("WIDTH", 100), ("WORKGROUP", 64), ("PROJECTED", 0)],
    &[
        ("WIDTH", 100),
        ("WORKGROUP", SOFTWARE.row_workgroup),
        ("PROJECTED", 1),
    ],
];

/// `shaders/root_norm.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "root_norm",
    source: include_str!("../../../shaders/root_norm.wgsl"),
    shared: &[ROWS, TOTAL],
    workgroup: 64,
    storage_buffers: 8,
    variants: VARIANTS,
};

/// `shaders/root_norm_backward.wgsl`.
pub(crate) static BACKWARD: KernelSpec = KernelSpec {
    name: "root_norm_backward",
    source: include_str!("../../../shaders/root_norm_backward.wgsl"),
    shared: &[ROWS, TOTAL],
    workgroup: 64,
    storage_buffers: 7,
    variants: VARIANTS,
};

fn constants(inputs: &NormInputs<CubeBackend>) -> [(&'static str, u32); 3] {
    [
        ("WIDTH", inputs.table.shape()[1] as u32),
        (
            "WORKGROUP",
            wgsl::row_workgroup(&inputs.table, FORWARD.workgroup),
        ),
        ("PROJECTED", inputs.projected().into()),
    ]
}

fn contiguous(inputs: NormInputs<CubeBackend>) -> NormInputs<CubeBackend> {
    NormInputs {
        table: into_contiguous(inputs.table),
        gamma: into_contiguous(inputs.gamma),
        beta: into_contiguous(inputs.beta),
        weight: into_contiguous(inputs.weight),
        bias: into_contiguous(inputs.bias),
    }
}

/// The backward where a row has so many roots that one workgroup would take long to add them: the steps that it is made of, of
/// which the sums over the roots of a row come in pieces.
fn in_pieces(
    inputs: NormInputs<CubeBackend>,
    roots: NormRoots<CubeBackend>,
    grad: CubeTensor,
) -> NormInputs<CubeBackend> {
    type B = CubeBackend;
    let (count, width) = (grad.shape()[0], grad.shape()[1]);
    let projected = inputs.projected();
    let NormRoots {
        row,
        offsets,
        items,
        recency,
        long,
    } = roots;
    let (table, gamma) = (inputs.table, inputs.gamma);
    let (d_x, weight, bias) = if projected {
        let normed = B::output_norm(
            table.clone(),
            gamma.clone(),
            inputs.beta,
            BeforeNorm::NOTHING,
        );
        let x = B::gather_rows(normed, row, offsets.clone(), items.clone(), long);
        let recency = B::float_reshape(recency, Shape::new([count, 1]));
        let bias = B::float_reshape(inputs.bias.clone(), Shape::new([1, width]));
        let of_weight = B::float_mul(recency.clone(), inputs.weight.clone());
        let drift = B::float_mul(grad.clone(), B::float_add(of_weight, bias));
        let d_bias = B::float_mul(grad.clone(), x);
        let d_weight = B::float_mul(d_bias.clone(), recency);
        let sum = |of: CubeTensor, like: &CubeTensor| {
            let sums = column_sums(&into_contiguous(of));
            B::float_reshape(sums, like.shape())
        };
        (
            B::float_add(grad, drift),
            sum(d_weight, &inputs.weight),
            sum(d_bias, &inputs.bias),
        )
    } else {
        (grad, inputs.weight, inputs.bias)
    };
    let d = B::segment_sum(d_x, offsets, items, long);
    let d = B::output_norm_backward(table, gamma, d, BeforeNorm::NOTHING);
    NormInputs {
        table: d.x,
        gamma: d.gamma,
        beta: d.beta,
        weight,
        bias,
    }
}

impl RootNorm for CubeBackend {
    fn root_norm(inputs: NormInputs<Self>, roots: NormRoots<Self>) -> NormOutput<Self> {
        let (inputs, row) = (contiguous(inputs), into_contiguous(roots.row));
        let (count, width) = (row.shape()[0], inputs.table.shape()[1]);
        let _operation = profiler::operation("root_norm", Kind::Kernel, || {
            costs::root_norm([inputs.table.shape()[0], count, width], false)
        });
        let made = wgsl::empty(&inputs.table, [(count + 4) * width]);
        let out = wgsl::beginning(&made, [count, width].into());
        let recency = match inputs.projected() {
            true => into_contiguous(roots.recency),
            false => inputs.gamma.clone(),
        };
        // Any buffers, where there is no projection.
        let [weight, bias] = match inputs.projected() {
            true => [&inputs.weight, &inputs.bias],
            false => [&inputs.gamma; 2],
        };
        wgsl::launch(
            &FORWARD,
            &constants(&inputs),
            count.max(1),
            &[
                &inputs.table,
                &inputs.gamma,
                &inputs.beta,
                weight,
                bias,
                &recency,
                &row,
                &made,
            ],
            &[count as u32, EPSILON.to_bits()],
        );
        NormOutput { out, kept: made }
    }

    fn root_norm_backward(
        inputs: NormInputs<Self>,
        roots: NormRoots<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> NormInputs<Self> {
        let (rows, width, count) = (
            inputs.table.shape()[0],
            inputs.table.shape()[1],
            grad.shape()[0],
        );
        let _operation = profiler::operation("root_norm_backward", Kind::Kernel, || {
            costs::root_norm([rows, count, width], true)
        });
        if roots.long.rows > 0 {
            return in_pieces(inputs, roots, grad);
        }
        let [offsets, items] = [roots.offsets, roots.items].map(into_contiguous);
        let [table, kept, grad] = [inputs.table.clone(), kept, grad].map(into_contiguous);
        let projected = inputs.projected();
        let recency = match projected {
            true => into_contiguous(roots.recency),
            false => grad.clone(),
        };
        let (shares, pitch) = (
            if projected { 4 } else { 2 },
            width.next_multiple_of(ALIGNED),
        );
        let d = wgsl::empty(&table, [rows * width + rows * shares * pitch]);
        let own_rows = offsets.shape()[0].saturating_sub(1);
        wgsl::launch(
            &BACKWARD,
            &constants(&inputs),
            rows,
            &[&table, &kept, &recency, &offsets, &items, &grad, &d],
            &[
                rows as u32,
                count as u32,
                EPSILON.to_bits(),
                own_rows as u32,
            ],
        );
        let sums = wgsl::empty(&d, [shares * pitch]);
        strided_sums(&d, [rows, shares * pitch], rows * width, &sums);
        let part = |of: usize, like: &CubeTensor| part(&sums, of * pitch, like.shape(), like.dtype);
        let [weight, bias] = match projected {
            true => [part(2, &inputs.weight), part(3, &inputs.bias)],
            false => [inputs.weight, inputs.bias],
        };
        NormInputs {
            table: wgsl::beginning(&d, table.shape()),
            gamma: part(0, &inputs.gamma),
            beta: part(1, &inputs.beta),
            weight,
            bias,
        }
    }
}
