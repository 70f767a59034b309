//! The pure domain: turns, plans, templates, the breaker, and what users see.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use crane_actors::registry::Registry;
use crane_core::breaker::{Breaker, BreakerPolicy, CallOutcome};
use crane_core::expr::Scope;
use crane_core::run::{Input, view};
use crane_core::{Limits, Plan, Round, Run, RunStatus};
use crane_tools::ToolsConfig;
use criterion::{BatchSize, Criterion};
use serde_json::json;

use crate::fixtures::{self, NOW};
use crate::runs::chain;

/// Measures all of it.
pub(crate) fn measure(criterion: &mut Criterion) {
    turns(criterion);
    plans(criterion);
    templates(criterion);
    breaker(criterion);
    views(criterion);
}

fn turns(criterion: &mut Criterion) {
    let plan = fixtures::load(&chain(10));
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("turn");
    let (run, _, reports) = fixtures::advance(&plan, 5);
    group.bench_function("a step of a 10-chain completed", |bencher| {
        bencher.iter_batched(
            || (run.clone(), reports.clone()),
            |(mut run, reports)| {
                let outcome = run.turn(reports, NOW, &limits);
                (run, outcome)
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a whole 10-chain", |bencher| {
        bencher.iter(|| whole(&plan, &limits));
    });
    let (_, records, _) = fixtures::advance(&plan, 10);
    group.bench_function("the fold of a 10-chain", |bencher| {
        bencher.iter(|| Run::fold(fixtures::id(1), &records, |_| Some(plan.clone())));
    });
    group.finish();
}

/// A run of `plan` from its submission to its end.
fn whole(plan: &Arc<Plan>, limits: &Limits) -> Run {
    let mut run = Run::empty(fixtures::id(1));
    let mut inputs = vec![fixtures::submission(plan), Input::Start];
    while !inputs.is_empty() {
        let (turn, _) = run.turn(inputs, NOW, limits);
        inputs = fixtures::reports(&turn);
    }
    assert_eq!(run.status(), RunStatus::Completed);
    run
}

fn plans(criterion: &mut Criterion) {
    let catalog = Registry::new(crane_tools::standard(ToolsConfig::default())).expect("tools");
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("plan check");
    for (name, source) in [("order", fixtures::order()), ("100-chain", chain(100))] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Plan::check(black_box(&source), &catalog, &limits).expect("a plan"));
        });
    }
    group.finish();
}

fn templates(criterion: &mut Criterion) {
    let echo =
        |id: &str, input: serde_json::Value| json!({ "id": id, "tool": "echo", "input": input });
    let cases = [
        ("document", json!({ "whole": "${steps.first.output}" })),
        ("path", json!({ "value": "${steps.first.output.value}" })),
        (
            "expression",
            json!({ "value": "${steps.first.output.value * 2 + 1}" }),
        ),
        (
            "text",
            json!({ "text": "${input.name} costs ${steps.first.output.value} now" }),
        ),
    ];
    let mut steps = vec![echo("first", json!({ "value": 41, "unit": "EUR" }))];
    steps.extend(cases.iter().map(|(name, input)| echo(name, input.clone())));
    let plan = fixtures::load(&json!({ "input": { "name": "A pear" }, "steps": steps }));
    let (run, _, _) = fixtures::advance(&plan, 1);
    let mut group = criterion.benchmark_group("resolve");
    for (name, _) in &cases {
        let step = plan.step_index(name).expect("a step");
        let template = &plan.steps[step.position()].input;
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let scope = Scope::new(black_box(&run));
                template.resolve_json(&scope).expect("a value")
            });
        });
    }
    group.finish();
}

fn breaker(criterion: &mut Criterion) {
    let mut breaker = Breaker::new(BreakerPolicy::default(), 7);
    let mut now = NOW;
    let took = Duration::from_micros(5);
    criterion.bench_function("breaker admit and report", |bencher| {
        bencher.iter(|| {
            now = now.after(Duration::from_micros(10));
            let permit = breaker.admit(now).expect("it is closed");
            breaker.report(permit, CallOutcome::Success, took, now);
        });
    });
}

fn views(criterion: &mut Criterion) {
    let plan = fixtures::load(&chain(10));
    let (run, records, _) = fixtures::advance(&plan, 10);
    assert_eq!(run.status(), RunStatus::Completed);
    let mut group = criterion.benchmark_group("view");
    group.bench_function("a 10-chain that has completed", |bencher| {
        bencher.iter(|| serde_json::to_vec(&view::run_view(black_box(&run), "local")));
    });
    let completed = records
        .iter()
        .find(|record| record.event.name() == "step_completed")
        .expect("a step has completed");
    group.bench_function("an event", |bencher| {
        bencher.iter(|| {
            let event = view::event_view(&run, black_box(completed), Round(1));
            serde_json::to_vec(&event)
        });
    });
    group.finish();
}
