//! Watches the store. When it stops by itself, outcomes of writes in flight are unknown and the
//! process must end; a restart recovers.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::kernel::Kernel;
use crate::metrics::ActorKind;

/// See the module.
#[derive(Debug)]
pub(crate) struct JournalActor;

/// What the journal actor is told.
#[derive(Debug)]
pub(crate) enum JournalMsg {
    /// The store has stopped.
    Failed(Arc<str>),
}

impl ractor::Message for JournalMsg {}

impl Actor for JournalActor {
    type Msg = JournalMsg;
    type State = ();
    type Arguments = Arc<Kernel>;

    async fn pre_start(
        &self,
        myself: ActorRef<JournalMsg>,
        kernel: Arc<Kernel>,
    ) -> Result<(), ActorProcessingErr> {
        kernel.metrics.kind(ActorKind::Journal).spawned();
        let failed = kernel.store.failed();
        kernel.background(async move {
            let reason = failed.await;
            let _ = myself.cast(JournalMsg::Failed(reason));
        });
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<JournalMsg>,
        message: JournalMsg,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // An error here reaches the node's supervisor as the failure of the journal.
        match message {
            JournalMsg::Failed(reason) => Err(reason.to_string().into()),
        }
    }
}
