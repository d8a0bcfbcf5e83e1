//! Launch of the routing of mail to mailboxes.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::wgsl::{self, FINITE, KernelSpec, ROWS};
use crate::kernels::mail_update::{MailTables, MailUpdate};

/// `shaders/mail_update.wgsl`.
pub(crate) static FORWARD: KernelSpec = KernelSpec {
    name: "mail_update",
    source: include_str!("../../../shaders/mail_update.wgsl"),
    shared: &[ROWS, FINITE],
    workgroup: 64,
    storage_buffers: 6,
    variants: &[&[("MEMORY", 100), ("EDGE", 172)]],
};

impl MailUpdate for CubeBackend {
    fn mail_update(
        tables: MailTables<Self>,
        hidden: FloatTensor<Self>,
        edge: FloatTensor<Self>,
        lists: IntTensor<Self>,
        mails: IntTensor<Self>,
        commit: f32,
    ) -> MailTables<Self> {
        let [mailbox, watched] = [tables.mailbox, tables.watched].map(wgsl::writable);
        let [hidden, edge, lists, mails] = [hidden, edge, lists, mails].map(into_contiguous);
        let (width, edge_width) = (hidden.shape()[1], edge.shape()[1]);
        let written = lists.shape()[0];
        wgsl::launch(
            &FORWARD,
            &[("MEMORY", width as u32), ("EDGE", edge_width as u32)],
            wgsl::groups_of(written * (2 * width + edge_width), FORWARD.workgroup),
            &[&mailbox, &hidden, &edge, &lists, &mails, &watched],
            &[written as u32, commit.to_bits()],
        );
        MailTables { mailbox, watched }
    }
}
