//! Carrying out what a turn decided, once its events allow it.

use std::sync::Arc;

use crane_core::event::Event;
use crane_core::run::{Effect, Input, StartStep};
use crane_core::{Attempt, Record, StepIndex};
use ractor::{Actor, ActorProcessingErr};

use super::{Queued, RunMsg, RunState, Running};
use crate::kernel::Living;
use crate::metrics::{ActorKind, StepCounts};
use crate::planner;
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
                    let epoch = self.tenure.epoch();
                    self.shard.send(ShardMsg::SetTimer(self.run.id, epoch, at));
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
            kernel: Living::new(self.kernel.clone(), ActorKind::Step),
            tenure: self.tenure.if_leased(),
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
        if self.tenure.is_cut_off() {
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

    fn make_plan(&self, prompt: &Arc<str>) {
        let kernel = self.kernel.clone();
        let me = self.me.clone();
        let prompt = Arc::clone(prompt);
        self.kernel.background(async move {
            let planned = planner::plan(&kernel, &prompt).await;
            me.send(RunMsg::Input(Queued::silent(Input::Planned(planned))));
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
                self.steps_of(*step).completed.one();
            }
            Event::StepFailed {
                step,
                attempt,
                error,
                ..
            } => {
                self.steps_of(*step).failed.one();
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
                self.kernel.metrics.retried(error.kind);
                tracing::info!(
                    run_id = %self.run.id, step = %self.step_name(*step), %attempt,
                    trace_id = self.trace_id(), %error, %retry_at, "attempt failed, will be repeated"
                );
            }
            Event::StepAttemptLost { step, attempt } => {
                self.kernel.metrics.lost();
                tracing::warn!(
                    run_id = %self.run.id, step = %self.step_name(*step), %attempt,
                    trace_id = self.trace_id(), "attempt was lost in a crash"
                );
            }
            Event::StepSkipped { step, .. } => self.steps_of(*step).skipped.one(),
            Event::StepCancelled { step, .. } => self.steps_of(*step).cancelled.one(),
            // The others say what was asked for or is about to happen.
            _ => {}
        }
    }

    /// Where the end of a step is counted.
    fn steps_of(&self, step: StepIndex) -> &StepCounts {
        self.run
            .definition(step)
            .and_then(|step| self.kernel.tools.gate(step.tool.as_str()))
            .map_or(&self.kernel.metrics.unknown_tool, |gate| {
                &gate.metrics.steps
            })
    }

    pub(super) fn step_name(&self, step: StepIndex) -> &str {
        self.run
            .definition(step)
            .map_or("?", |step| step.id.as_str())
    }

    fn trace_id(&self) -> Option<&str> {
        self.run.accepted.as_ref()?.trace_id.as_deref()
    }
}
