//! Carrying out what a turn decided, once its events allow it.

use std::sync::Arc;

use crane_core::event::Event;
use crane_core::run::{Effect, Input, StartStep};
use crane_core::{Attempt, Record, StepIndex};
use ractor::{Actor, ActorProcessingErr};

use super::{Queued, RunMsg, RunState, Running};
use crate::metrics::RuntimeMetrics;
use crate::shard::ShardMsg;
use crate::step::{StepActor, StepState};

impl RunState {
    pub(super) async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
    ) -> Result<(), ActorProcessingErr> {
        for effect in effects {
            match effect {
                Effect::StartStep(start) => self.start_step(start).await?,
                Effect::AbortStep { step, attempt } => self.abort_step(step, attempt),
                Effect::SetTimer { at } => {
                    self.shard.send(ShardMsg::SetTimer(self.run.id, at));
                }
                Effect::MakePlan { prompt } => self.make_plan(&prompt),
                // Events go out with the acknowledgement of their batch, see `publish`.
                Effect::Publish { .. } => {}
                Effect::Close => self.close(),
            }
        }
        Ok(())
    }

    async fn start_step(&mut self, start: Box<StartStep>) -> Result<(), ActorProcessingErr> {
        let Some(plan) = &self.run.plan else {
            return Err("a step is to start, but the run has no plan".into());
        };
        let (step, attempt) = (start.step, start.attempt);
        let since = tokio::time::Instant::now();
        let args = Box::new(StepState {
            kernel: self.kernel.clone(),
            gate: self.kernel.tools.gate(start.tool.as_str()).cloned(),
            run: self.run.id,
            step: plan.steps[step.position()].id.clone(),
            start,
            trace_id: self.run.accepted.as_ref().and_then(|a| a.trace_id.clone()),
            scheduled: since,
            report: None,
        });
        let (actor, _) =
            StepActor::spawn_linked(None, StepActor, args, self.me.actor().get_cell()).await?;
        let cell = actor.get_cell();
        self.steps.insert(
            cell.get_id(),
            Running {
                step,
                attempt,
                cell,
                since,
            },
        );
        if self.kernel.is_interrupting() {
            self.interrupt();
        }
        Ok(())
    }

    /// Kills the actors of all attempts; their terminations report the interruption.
    pub(super) fn interrupt(&self) {
        for running in self.steps.values() {
            running.cell.kill();
        }
    }

    /// Kills the actor of an attempt; its termination reports the abort.
    fn abort_step(&self, step: StepIndex, attempt: Attempt) {
        let running = self
            .steps
            .values()
            .find(|running| running.step == step && running.attempt == attempt);
        if let Some(running) = running {
            running.cell.kill();
        }
    }

    fn make_plan(&self, prompt: &str) {
        let making = self.kernel.planner.plan(prompt);
        let kernel = self.kernel.clone();
        let me = self.me.clone();
        self.kernel.background(async move {
            let planned = making.await.and_then(|source| check(&kernel, &source));
            let input = Input::Planned(planned.map_err(Arc::from));
            me.send(RunMsg::Input(Queued::silent(input)));
        });
    }

    /// Counts durable events and hands them to followers.
    pub(super) fn publish(&self, records: Vec<Record>) {
        for record in &records {
            self.count(&record.event);
        }
        if self.kernel.hub.is_watched() {
            self.kernel.hub.publish(self.run.id, records);
        }
    }

    fn count(&self, event: &Event) {
        match event {
            Event::StepCompleted { step, .. } => {
                if let Some(gate) = self.gate_of(*step) {
                    gate.metrics.completed.increment(1);
                }
            }
            Event::StepFailed {
                step,
                attempt,
                error,
                ..
            } => {
                if let Some(gate) = self.gate_of(*step) {
                    gate.metrics.failed.increment(1);
                }
                tracing::info!(
                    run_id = %self.run.id, step = %self.step_name(*step), %attempt,
                    trace_id = self.trace_id(), %error, "step failed"
                );
            }
            Event::StepAttemptFailed {
                step,
                attempt,
                error,
                retry_at,
                ..
            } => {
                RuntimeMetrics::retried(error.kind.as_str());
                tracing::info!(
                    run_id = %self.run.id, step = %self.step_name(*step), %attempt,
                    trace_id = self.trace_id(), %error, %retry_at, "attempt failed, will be repeated"
                );
            }
            Event::StepAttemptLost { step, attempt } => {
                RuntimeMetrics::retried("lost");
                tracing::warn!(
                    run_id = %self.run.id, step = %self.step_name(*step), %attempt,
                    trace_id = self.trace_id(), "attempt was lost in a crash"
                );
            }
            // The others say what was asked for or is about to happen.
            _ => {}
        }
    }

    fn gate_of(&self, step: StepIndex) -> Option<&Arc<crate::gate::Gate>> {
        let step = self.run.definition(step)?;
        self.kernel.tools.gate(step.tool.as_str())
    }

    fn step_name(&self, step: StepIndex) -> &str {
        self.run
            .definition(step)
            .map_or("?", |step| step.id.as_str())
    }

    fn trace_id(&self) -> Option<&str> {
        self.run.accepted.as_ref()?.trace_id.as_deref()
    }
}

/// A planner's plan, checked like a user's; its findings are a planning failure.
pub(crate) fn check(
    kernel: &crate::kernel::Kernel,
    source: &serde_json::Value,
) -> Result<Arc<crane_core::Plan>, String> {
    kernel
        .plans
        .check(source, kernel.tools.as_ref(), &kernel.limits)
        .map_err(|findings| {
            let all: Vec<String> = findings
                .iter()
                .map(|finding| format!("{}: {}", finding.path, finding.message))
                .collect();
            format!("the planner's plan is not valid: {}", all.join("; "))
        })
}
