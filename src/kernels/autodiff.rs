//! One way to hang a hand-written backward to the result of an operation.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// From what the forward has kept and the gradient of its result to the gradients of the inputs.
type Gradient<B, S, const N: usize> = fn(S, FloatTensor<B>) -> [FloatTensor<B>; N];

#[derive(Debug)]
struct Step<B: Backend, S, const N: usize>(Gradient<B, S, N>);

impl<B: Backend, S, const N: usize> Backward<B, N> for Step<B, S, N>
where
    S: Clone + Send + std::fmt::Debug + 'static,
{
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (parent, d) in ops.parents.into_iter().zip((self.0)(ops.state, grad)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, d);
            }
        }
    }
}

/// `out`, made from the tensors of `inputs`; in the backward pass `gradient` makes their gradients
/// from `kept` and the gradient of `out`.
pub(crate) fn differentiable<B: Backend, C: CheckpointStrategy, S, const N: usize>(
    inputs: [NodeGuard; N],
    kept: S,
    out: FloatTensor<B>,
    gradient: Gradient<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    S: Clone + Send + std::fmt::Debug + 'static,
{
    let prepared = Step(gradient)
        .prepare::<C>(inputs)
        .compute_bound()
        .stateful();
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(kept, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}
