//! What the store says to an actor that has ended meanwhile.

use std::sync::Arc;

use crane_core::RunId;

use crate::kernel::Kernel;
use crate::shard::ShardMsg;

/// Goes with the store's word on events of a run. If its actor ends before it has heard that, the
/// followers look at the store, and the shard takes the run up unless it has done so already: what has
/// just become durable may be more than a restarted shard has read.
#[derive(Debug)]
pub(crate) struct Unheard(Option<(Arc<Kernel>, RunId)>);

impl Unheard {
    pub(super) fn new(kernel: &Arc<Kernel>, run: RunId) -> Self {
        Self(Some((kernel.clone(), run)))
    }

    /// It was heard, and told.
    pub(super) fn heard(mut self) {
        self.0 = None;
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some((kernel, run)) = self.0.take() {
            kernel.hub.look_again(run);
            kernel.tell_shard(run, ShardMsg::Resume(run));
        }
    }
}
