//! Mailboxes that know how full they are.
//!
//! ractor's mailboxes are unbounded and tell no depth. Every message that matters travels in a
//! [`Mail`], whose ticket counts from sending until it is handled, or dropped with the mailbox of
//! an actor that died.

use std::fmt;
use std::sync::Arc;

use ractor::ActorRef;

use crate::metrics::count::Depth;

/// A message and its ticket.
pub(crate) struct Mail<M> {
    pub(crate) message: M,
    _ticket: Option<Ticket>,
}

impl<M> Mail<M> {
    /// A message that is not counted, such as an alarm to oneself.
    pub(crate) fn uncounted(message: M) -> Self {
        Self {
            message,
            _ticket: None,
        }
    }
}

impl<M: fmt::Debug> fmt::Debug for Mail<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl<M: fmt::Debug + Send + 'static> ractor::Message for Mail<M> {}

struct Ticket(Arc<Depth>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Where to send messages of type `M`.
pub(crate) struct Mailbox<M: fmt::Debug + Send + 'static> {
    actor: ActorRef<Mail<M>>,
    depth: Arc<Depth>,
}

impl<M: fmt::Debug + Send + 'static> Mailbox<M> {
    pub(crate) fn new(actor: ActorRef<Mail<M>>, depth: &Arc<Depth>) -> Self {
        Self {
            actor,
            depth: depth.clone(),
        }
    }

    /// Sends a message. An actor that has ended drops it, and with it the reply port that it may
    /// carry; that is how callers notice.
    pub(crate) fn send(&self, message: M) {
        self.depth.enter();
        let ticket = Ticket(self.depth.clone());
        let _ = self.actor.cast(Mail {
            message,
            _ticket: Some(ticket),
        });
    }

    pub(crate) fn actor(&self) -> &ActorRef<Mail<M>> {
        &self.actor
    }
}

impl<M: fmt::Debug + Send + 'static> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self {
            actor: self.actor.clone(),
            depth: self.depth.clone(),
        }
    }
}

impl<M: fmt::Debug + Send + 'static> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.actor.get_id())
    }
}
