//! Guards one tool: queues calls while all permits are out, keeps the breaker's state durable and
//! visible, wakes up when time alone changes something.

use std::collections::VecDeque;
use std::sync::Arc;

use crane_core::limits;
use crane_core::tool::ToolError;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::breaker_rows;
use crate::gate::{Admission, CallPermit, Gate};
use crate::kernel::{Kernel, Living};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::ActorKind;

/// See the module.
#[derive(Debug)]
pub(crate) struct ToolActor;

/// What a tool actor is told.
#[derive(Debug)]
pub(crate) enum ToolMsg {
    /// A permit came back.
    Released,
    /// The breaker changed its state.
    Changed,
    /// Time has come to look again.
    Tick,
    /// An attempt waits for a permit.
    Wait(oneshot::Sender<Result<CallPermit, ToolError>>),
}

impl std::fmt::Debug for CallPermit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallPermit")
    }
}

/// What a tool actor is given.
#[derive(Debug)]
pub(crate) struct ToolArgs {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) gate: Arc<Gate>,
}

/// Its queue.
#[derive(Debug)]
pub(crate) struct ToolState {
    kernel: Living,
    gate: Arc<Gate>,
    queue: VecDeque<oneshot::Sender<Result<CallPermit, ToolError>>>,
    /// Transitions of the breaker that were published.
    changes: u64,
    /// The timer that is set, so that there is never more than one.
    alarm: Option<tokio::task::AbortHandle>,
}

impl ToolState {
    /// Hands out what can be handed out, in the order of arrival.
    fn grant(&mut self) {
        while let Some(waiter) = self.queue.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            match self.gate.admit(&self.kernel.clock, true) {
                // A waiter that has gone meanwhile drops the permit, which gives it back.
                Admission::Granted(permit) => drop(waiter.send(Ok(permit))),
                Admission::Denied(error) => drop(waiter.send(Err(error))),
                Admission::Busy => {
                    self.queue.push_front(waiter);
                    break;
                }
            }
        }
    }

    /// Sets the one timer to when the rate or the breaker changes by itself.
    fn set_alarm(&mut self, myself: &ActorRef<Mail<ToolMsg>>) {
        if let Some(alarm) = self.alarm.take() {
            alarm.abort();
        }
        let now = self.kernel.clock.now();
        let rate = if self.queue.is_empty() {
            None
        } else {
            self.gate.next_token(now)
        };
        let breaker = self.gate.next_change().map(|at| at.since(now));
        if let Some(delay) = rate.into_iter().chain(breaker).min() {
            let timer = myself.send_after(delay, || Mail::uncounted(ToolMsg::Tick));
            self.alarm = Some(timer.abort_handle());
        }
    }

    /// Shows the breaker's state, and makes it durable when it changed.
    fn publish(&mut self) {
        let snapshot = self.gate.snapshot(self.kernel.clock.now());
        let state = snapshot.state;
        self.gate.metrics.show_state(state);
        if snapshot.changes == self.changes {
            return;
        }
        let tool = self.gate.spec().name.as_str();
        // It may have gone on more than once since it was looked at.
        for transition in &snapshot.transitions {
            if transition.number >= self.changes {
                self.gate.metrics.transition(transition.to);
            }
        }
        if let Some(last) = snapshot.transitions.last() {
            tracing::warn!(
                tool, from = last.from.as_str(), to = state.as_str(), reason = %last.reason,
                "breaker changed"
            );
            let write = breaker_rows::write(tool, &snapshot);
            let name = self.gate.spec().name.clone();
            self.kernel.store.submit(
                write,
                Box::new(move |result| {
                    if let Err(error) = result {
                        tracing::warn!(tool = %name, %error, "breaker state was not stored");
                    }
                }),
            );
        }
        self.changes = snapshot.changes;
    }
}

impl Actor for ToolActor {
    type Msg = Mail<ToolMsg>;
    type State = ToolState;
    type Arguments = ToolArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<ToolMsg>>,
        args: ToolArgs,
    ) -> Result<ToolState, ActorProcessingErr> {
        let depth = &args.kernel.metrics.kind(ActorKind::Tool).depth;
        args.gate.attach(Mailbox::new(myself, depth));
        let changes = args.gate.snapshot(args.kernel.clock.now()).changes;
        Ok(ToolState {
            kernel: Living::new(args.kernel, ActorKind::Tool),
            gate: args.gate,
            queue: VecDeque::new(),
            changes,
            alarm: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Mail<ToolMsg>>,
        state: &mut ToolState,
    ) -> Result<(), ActorProcessingErr> {
        state.publish();
        state.set_alarm(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<ToolMsg>>,
        mail: Mail<ToolMsg>,
        state: &mut ToolState,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.kernel.metrics.kind(ActorKind::Tool).time();
        match mail.message {
            ToolMsg::Released => {}
            ToolMsg::Changed | ToolMsg::Tick => state.publish(),
            ToolMsg::Wait(waiter) => {
                if state.queue.len() >= limits::TOOL_QUEUE {
                    state.queue.retain(|waiter| !waiter.is_closed());
                }
                state.queue.push_back(waiter);
            }
        }
        state.grant();
        state.set_alarm(&myself);
        Ok(())
    }
}
