//! Random plans, outcomes and interleavings. The bench checks after every turn that replay gives the
//! live state, sequences have no gaps, what runs is what was started, and each round has one end;
//! here is checked in addition that no completed step starts again, that a step starts only behind
//! its dependencies, that refused inputs change nothing, and that every run comes to an end.

use proptest::prelude::*;

use super::*;

/// What the world may do to a run, drawn with numbers that pick among what is possible.
#[derive(Clone, Copy, Debug)]
enum Act {
    Report(u8, u8),
    Stale(u8, u8),
    Wait(u8),
    Cancel,
    Retry,
    /// The process dies; of the lazy records that no eager one has followed, so many are lost.
    Crash(u8),
    Poison,
    Start,
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        10 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Act::Report(a, b)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Act::Stale(a, b)),
        4 => any::<u8>().prop_map(Act::Wait),
        1 => Just(Act::Cancel),
        2 => Just(Act::Retry),
        2 => any::<u8>().prop_map(Act::Crash),
        1 => Just(Act::Poison),
        1 => Just(Act::Start),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..4), 1..40)
}

#[derive(Clone, Debug)]
struct Shape {
    /// Which of the earlier steps a step waits for, as bits.
    after: u16,
    options: u16,
}

fn plans() -> impl Strategy<Value = Value> {
    let step = (any::<u16>(), any::<u16>()).prop_map(|(after, options)| Shape { after, options });
    prop::collection::vec(step, 1..9).prop_map(|shapes| plan_of(&shapes))
}

fn plan_of(shapes: &[Shape]) -> Value {
    let steps: Vec<Value> = shapes
        .iter()
        .enumerate()
        .map(|(n, shape)| {
            let after: Vec<String> = (0..n)
                .filter(|earlier| shape.after & (1 << earlier) != 0)
                .map(|earlier| format!("s{earlier}"))
                .collect();
            let once = shape.options & 7 == 0;
            let mut step = json!({"id": format!("s{n}"), "tool": "echo", "input": {"n": n},
                "depends_on": after});
            if once {
                step["delivery"] = json!("at_most_once");
            } else {
                let attempts = 1 + (shape.options >> 3) % 3;
                let initial = if shape.options & 64 == 0 {
                    "0ms"
                } else {
                    "20ms"
                };
                step["retry"] = json!({"max_attempts": attempts, "initial": initial});
            }
            if shape.options & 128 != 0 {
                step["on_error"] = json!("continue");
            }
            match (shape.options >> 8) % 6 {
                0 => step["when"] = json!("false"),
                1 if !after.is_empty() => {
                    step["when"] = json!(format!("steps.{}.status == 'completed'", after[0]));
                }
                2 if !after.is_empty() => {
                    let output = format!("${{steps.{}.output}}", after[0]);
                    step["input"] = json!({ "of": output });
                }
                _ => {}
            }
            step
        })
        .collect();
    json!({ "steps": steps })
}

fn outcome(number: u8) -> Outcome {
    use ErrorKind::{InvalidInput, Panic, Permanent, Timeout, Transient, Unavailable};
    match number % 13 {
        0..=4 => ok(&json!({ "n": number })),
        5 => failed(Transient),
        6 => failed(Timeout),
        7 => failed(Permanent),
        8 => failed(Unavailable),
        9 => failed(InvalidInput),
        10 => failed(Panic),
        11 => Outcome::Interrupted,
        _ => Outcome::Aborted,
    }
}

struct World {
    bench: Bench,
    /// Records that a crash cannot take back.
    durable: usize,
    /// Steps whose completion is durable.
    completed: BTreeSet<StepIndex>,
}

impl World {
    fn new(plan: &Value, limits: Limits) -> Self {
        let mut bench = Bench::limited(limits);
        bench.turn([submit_plan(&load(plan))]);
        Self {
            durable: bench.records.len(),
            bench,
            completed: BTreeSet::new(),
        }
    }

    fn turn(&mut self, inputs: Vec<Input>) {
        let refused: Vec<bool> = {
            let mut copy = self.bench.run.clone();
            let (now, limits) = (self.bench.now, &self.bench.limits);
            inputs
                .iter()
                .map(|input| {
                    // A turn of no input does what the turn of a refused input may do as well.
                    let mut idle = copy.clone();
                    let (idle_turn, _) = idle.turn([], now, limits);
                    let (turn, answers) = copy.turn([input.clone()], now, limits);
                    if answers[0].is_err() {
                        assert_eq!(copy, idle, "a refused {input:?} changed something");
                        assert_eq!(turn.records, idle_turn.records);
                    }
                    answers[0].is_err()
                })
                .collect()
        };
        let single = inputs.len() == 1;
        let (turn, answers) = self.bench.try_turn(inputs);
        if single {
            assert_eq!(answers[0].is_err(), refused[0]);
        }
        self.look_at(&turn);
    }

    fn look_at(&mut self, turn: &Turn) {
        if turn.eager {
            self.durable = self.bench.records.len();
        }
        for record in &turn.records {
            match &record.event {
                Event::StepStarted { step, .. } => {
                    assert!(
                        !self.completed.contains(step),
                        "a completed step started again"
                    );
                    self.assert_released(*step);
                }
                Event::StepCompleted { step, .. } => {
                    self.completed.insert(*step);
                }
                _ => {}
            }
        }
        let eager = turn.records.iter().any(|record| match &record.event {
            Event::StepStarted { step, .. } => {
                let plan = self.bench.run.plan.as_ref().unwrap();
                plan.steps[step.position()].delivery == Delivery::AtMostOnce
            }
            Event::StepAttemptFailed { .. } => false,
            _ => true,
        });
        assert_eq!(turn.eager, eager);
    }

    fn assert_released(&self, step: StepIndex) {
        let run = &self.bench.run;
        for dependency in &run.plan.as_ref().unwrap().steps[step.position()].depends_on {
            let status = run.step(*dependency).unwrap().status;
            assert!(
                !matches!(
                    status,
                    StepStatus::Pending | StepStatus::Running | StepStatus::Waiting
                ),
                "{step} started before {dependency} ended"
            );
        }
    }

    fn act(&mut self, acts: &[Act]) {
        let mut inputs = Vec::new();
        let mut crash = None;
        for act in acts {
            match *act {
                Act::Report(which, how) => inputs.extend(self.report(which, outcome(how))),
                Act::Stale(step, attempt) => inputs.push(Input::StepReported {
                    step: StepIndex(u32::from(step % 10)),
                    attempt: Attempt(100 + u32::from(attempt)),
                    outcome: Outcome::Aborted,
                    duration_us: 0,
                }),
                Act::Wait(milliseconds) => {
                    self.bench
                        .wait(Duration::from_millis(u64::from(milliseconds)));
                    // Sometimes it fires too early, or twice.
                    inputs.push(Input::TimerFired);
                    let now = self.bench.now;
                    self.bench.alarm = self.bench.alarm.filter(|alarm| *alarm > now);
                }
                Act::Cancel => inputs.push(Input::Cancel),
                Act::Retry => inputs.push(Input::Retry),
                Act::Crash(lost) => crash = Some(usize::from(lost)),
                Act::Poison => inputs.push(Input::Poison("poisoned".into())),
                Act::Start => inputs.push(Input::Start),
            }
        }
        self.turn(inputs);
        if let Some(lost) = crash {
            self.crash(lost);
        }
    }

    fn report(&self, which: u8, outcome: Outcome) -> Option<Input> {
        let count = self.bench.out.len();
        if count == 0 {
            return None;
        }
        let (step, attempt) = self.bench.out.iter().nth(usize::from(which) % count)?;
        Some(Input::StepReported {
            step: *step,
            attempt: *attempt,
            outcome,
            duration_us: u64::from(which),
        })
    }

    fn crash(&mut self, lost: usize) {
        let lazy = self.bench.records.len() - self.durable;
        let kept = self.bench.records.len() - lost % (lazy + 1);
        self.bench.records.truncate(kept);
        let turn = self.bench.crash();
        self.look_at(&turn);
    }

    /// From here on every attempt succeeds and timers fire; the run must end.
    fn finish(&mut self) {
        let mut turns = 0;
        while !self.bench.run.status().is_ended() {
            turns += 1;
            assert!(turns < 200, "the run does not end: {:?}", self.bench.run);
            if self.bench.run.phase == Phase::Pending {
                self.turn(vec![Input::Start]);
            } else if let Some(report) = self.report(0, ok(&json!("done"))) {
                self.turn(vec![report]);
            } else {
                let alarm = self.bench.alarm.take();
                assert!(
                    alarm.is_some(),
                    "nothing runs and no timer is set: {:?}",
                    self.bench.run
                );
                self.bench.now = self.bench.now.max(alarm.unwrap());
                self.turn(vec![Input::TimerFired]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_journal_tells_the_truth_and_the_run_ends(
        plan in plans(),
        acts in acts(),
        parallel in 1usize..5,
        run_bytes in prop_oneof![4 => Just(8usize << 20), 1 => 1_500usize..6_000],
    ) {
        let limits = Limits { parallel_steps: parallel, run_bytes, ..Limits::default() };
        let mut world = World::new(&plan, limits);
        world.turn(vec![Input::Start]);
        for batch in &acts {
            world.act(batch);
        }
        world.finish();
        // A run that did not end well can always be taken up again, and ends again.
        if world.bench.run.phase != Phase::Completed {
            world.turn(vec![Input::Retry]);
            world.finish();
        }
        prop_assert_eq!(world.bench.read_back(), world.bench.run);
    }
}
