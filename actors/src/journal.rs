//! Watches the store. When it stops by itself, outcomes of writes in flight are unknown and the
//! process must end; a restart recovers.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::kernel::{Kernel, Living};
use crate::mailbox::{Mail, Mailbox};
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

impl Actor for JournalActor {
    type Msg = Mail<JournalMsg>;
    type State = Living;
    type Arguments = Arc<Kernel>;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<JournalMsg>>,
        kernel: Arc<Kernel>,
    ) -> Result<Living, ActorProcessingErr> {
        let me = Mailbox::new(myself, &kernel.metrics.kind(ActorKind::Journal).depth);
        let failed = kernel.store.failed();
        kernel.background(async move {
            me.send(JournalMsg::Failed(failed.await));
        });
        Ok(Living::new(kernel, ActorKind::Journal))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Mail<JournalMsg>>,
        mail: Mail<JournalMsg>,
        state: &mut Living,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.metrics.kind(ActorKind::Journal).time();
        // An error here reaches the node's supervisor as the failure of the journal.
        match mail.message {
            JournalMsg::Failed(reason) => Err(reason.to_string().into()),
        }
    }
}
