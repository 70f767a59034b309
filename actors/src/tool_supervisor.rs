//! Parent of the tool actors: starts one for each gate and starts it again when it fails.

use std::collections::HashMap;
use std::sync::Arc;

use crane_core::limits;
use crane_core::restart::{RestartIntensity, RestartPolicy, Verdict};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::gate::Gate;
use crate::kernel::{Kernel, Living};
use crate::metrics::{ActorKind, Failure, FailureKind};
use crate::tool_actor::{ToolActor, ToolArgs};

/// See the module.
#[derive(Debug)]
pub(crate) struct ToolSupervisor;

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum ToolSupervisorMsg {
    /// Start the actor of this tool.
    Start(Arc<Gate>),
}

impl ractor::Message for ToolSupervisorMsg {}

/// Its children and their restart budgets.
#[derive(Debug)]
pub(crate) struct ToolSupervisorState {
    kernel: Living,
    children: HashMap<ActorId, Arc<Gate>>,
    budgets: HashMap<String, RestartIntensity>,
}

impl Actor for ToolSupervisor {
    type Msg = ToolSupervisorMsg;
    type State = ToolSupervisorState;
    type Arguments = Arc<Kernel>;

    async fn pre_start(
        &self,
        _myself: ActorRef<ToolSupervisorMsg>,
        kernel: Arc<Kernel>,
    ) -> Result<ToolSupervisorState, ActorProcessingErr> {
        Ok(ToolSupervisorState {
            kernel: Living::new(kernel, ActorKind::ToolSupervisor),
            children: HashMap::new(),
            budgets: HashMap::new(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        state: &mut ToolSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let gates: Vec<_> = state.kernel.tools.gates().cloned().collect();
        for gate in gates {
            state.start(&myself, gate).await?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        message: ToolSupervisorMsg,
        state: &mut ToolSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.kernel.metrics.kind(ActorKind::ToolSupervisor).time();
        match message {
            ToolSupervisorMsg::Start(gate) => state.start(&myself, gate).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        event: SupervisionEvent,
        state: &mut ToolSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.ended(&myself, cell.get_id(), &reason.unwrap_or_default());
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                state.ended(&myself, cell.get_id(), &error.to_string());
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

impl ToolSupervisorState {
    async fn start(
        &mut self,
        myself: &ActorRef<ToolSupervisorMsg>,
        gate: Arc<Gate>,
    ) -> Result<(), ActorProcessingErr> {
        let args = ToolArgs {
            kernel: self.kernel.clone(),
            gate: gate.clone(),
        };
        let (actor, _) = ToolActor::spawn_linked(None, ToolActor, args, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), gate);
        Ok(())
    }

    fn ended(&mut self, myself: &ActorRef<ToolSupervisorMsg>, actor: ActorId, error: &str) {
        let Some(gate) = self.children.remove(&actor) else {
            return;
        };
        let metrics = self.kernel.metrics.kind(ActorKind::Tool);
        let tool = gate.spec().name.to_string();
        let now = self.kernel.clock.now();
        metrics.failed(Failure::new(now, format!("tool {tool}"), None, error));
        let seed = tool.len() as u64;
        let budget = self
            .budgets
            .entry(tool.clone())
            .or_insert_with(|| RestartIntensity::new(RestartPolicy::default(), seed));
        let delay = match budget.failed(now) {
            Verdict::RestartAfter(delay) => delay,
            Verdict::GiveUp => {
                metrics.exhausted.one();
                // Its gate goes on admitting calls meanwhile; only calls that must wait for a permit
                // wait for it.
                limits::TOOL_COOL_DOWN
            }
        };
        metrics.restarted(FailureKind::Failed);
        tracing::error!(tool, error, ?delay, "tool actor failed, will be restarted");
        myself.send_after(delay, move || ToolSupervisorMsg::Start(gate));
    }
}
