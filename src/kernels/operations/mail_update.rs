//! Routing of a batch's mail to mailboxes.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::batch::{Mail, MailList};
use crate::kernels::costs;
use crate::kernels::cpu::rows;
use crate::kernels::flex::{floats, floats_mut, ints};
use crate::profiler::{self, Kind};

/// What mail routing writes, as burn's backends hand it over.
#[derive(ExtensionType)]
pub(crate) struct MailTables<B: Backend> {
    pub(crate) mailbox: FloatTensor<B>,
    pub(crate) watched: FloatTensor<B>,
}

/// Dispatch of [`mail_update`] to the backends.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex)]
pub(crate) trait MailUpdate: Backend {
    /// See [`mail_update`].
    fn mail_update(
        #[extension_type] tables: MailTables<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        lists: IntTensor<Self>,
        mails: IntTensor<Self>,
        commit: f32,
    ) -> MailTables<Self>;
}

impl MailUpdate for Flex {
    fn mail_update(
        mut tables: MailTables<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        lists: IntTensor<Self>,
        mails: IntTensor<Self>,
        commit: f32,
    ) -> MailTables<Self> {
        let finite = rows::mail_update(
            floats_mut(&mut tables.mailbox),
            rows::MailParts {
                hidden: &floats(&hidden),
                width: hidden.shape()[1],
                edge: &floats(&edge),
                edge_width: edge.shape()[1],
            },
            bytemuck::cast_slice(&ints(&lists)),
            bytemuck::cast_slice(&ints(&mails)),
        );
        for (first, finite) in floats_mut(&mut tables.watched).iter_mut().zip(finite) {
            if !finite && *first == 0.0 {
                *first = commit;
            }
        }
        tables
    }
}

/// Which mail goes where.
#[derive(Debug, Clone)]
pub struct MailLists {
    /// Each list's place in the mailbox table, where it begins and ends in `mails`, and bits of 1 / the
    /// number of its mail, `[written, 4]`: [`MailList`]s. Places are distinct.
    pub lists: Tensor<2, Int>,
    /// (row, peer's row, event row) of each mail, `[mails, 3]`.
    pub mails: Tensor<2, Int>,
}

impl MailLists {
    /// These lists of `mails`, on `device`.
    pub fn new(lists: &[MailList], mails: &[Mail], device: &Device) -> MailLists {
        let table = |numbers: &[i32], rows: usize, columns: usize| {
            Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, columns]), device)
        };
        MailLists {
            lists: table(bytemuck::cast_slice(lists), lists.len(), 4),
            mails: table(bytemuck::cast_slice(mails), mails.len(), 3),
        }
    }
}

/// Remembers the first commits that wrote numbers that are not finite.
#[derive(Debug, Clone)]
pub struct MailWatch {
    /// Number of the first commit that wrote one of a memory row, and of the first that wrote one
    /// of edge features, `[2]`; 0 for none.
    pub first: Tensor<1>,
    /// Number of this commit, from 1; exact up to 2^24.
    pub commit: u64,
}

/// Writes to each place the sum of its mail `[own row | peer's row | edge features]` in the list's
/// order times the list's share, their mean, and returns the table and what is watched.
///
/// `mailbox` is `[places, 2 width + edge]`, `hidden` `[rows, width]`, `edge`
/// `[event rows, edge]`. In place where the caller holds the only handle of the table, else
/// on a copy.
pub fn mail_update(
    mailbox: Tensor<2>,
    hidden: Tensor<2>,
    edge: Tensor<2>,
    lists: MailLists,
    watch: MailWatch,
) -> (Tensor<2>, MailWatch) {
    let widths = [mailbox.dims()[1], 2 * hidden.dims()[1] + edge.dims()[1]];
    assert_eq!(widths[0], widths[1], "width of a mail");
    let _operation = profiler::operation("mail_update", Kind::Memory, || {
        costs::mail_update(lists.mails.dims()[0], lists.lists.dims()[0], widths[0])
    });
    let tables = MailTables {
        mailbox: mailbox.into_dispatch(),
        watched: watch.first.into_dispatch(),
    };
    let tables = Dispatch::mail_update(
        tables,
        hidden.into_dispatch(),
        edge.into_dispatch(),
        lists.lists.into_dispatch(),
        lists.mails.into_dispatch(),
        watch.commit as f32,
    );
    let watch = MailWatch {
        first: Tensor::from_dispatch(tables.watched),
        ..watch
    };
    (Tensor::from_dispatch(tables.mailbox), watch)
}
