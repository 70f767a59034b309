//! Large plans cost in proportion to their size.

use std::time::Instant;

use super::*;

fn chain(steps: usize) -> Value {
    let steps: Vec<Value> = (0..steps)
        .map(|n| {
            let after: Vec<String> = n
                .checked_sub(1)
                .map(|n| format!("s{n}"))
                .into_iter()
                .collect();
            json!({"id": format!("s{n}"), "tool": "echo", "input": {}, "depends_on": after})
        })
        .collect();
    json!({ "steps": steps })
}

fn fan(steps: usize) -> Value {
    let mut plan = json!({"steps": [{"id": "first", "tool": "echo", "input": {}}]});
    let list = plan["steps"].as_array_mut().unwrap();
    for n in 0..steps - 1 {
        list.push(json!({"id": format!("s{n}"), "tool": "echo", "input": {},
            "depends_on": ["first"]}));
    }
    plan
}

/// Runs the plan to its end; how long the turns took.
#[allow(clippy::disallowed_methods)] // the time that passes is what is measured
fn time_to_run(plan: &Value) -> Duration {
    let plan = load(plan);
    let limits = Limits {
        run_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut run = Run::empty(RunId::from_time(1, [1; 10]));
    let begin = Instant::now();
    let mut inputs = vec![submit_plan(&plan), Input::Start];
    let mut turns = 0;
    while !inputs.is_empty() {
        let (turn, answers) = run.turn(inputs, Timestamp(1), &limits);
        assert!(answers.iter().all(Result::is_ok));
        inputs = starts(&turn)
            .map(|start| Input::StepReported {
                step: start.step,
                attempt: start.attempt,
                outcome: Outcome::Completed(Json::null()),
                duration_us: 1,
            })
            .collect();
        turns += 1;
    }
    assert_eq!(run.status(), RunStatus::Completed);
    assert!(turns > 1);
    begin.elapsed()
}

/// Sixteen times the steps must not take anywhere near 256 times as long.
#[track_caller]
fn assert_linear(shape: fn(usize) -> Value) {
    let fastest = |steps: usize| (0..3).map(|_| time_to_run(&shape(steps))).min().unwrap();
    let small = fastest(625).max(Duration::from_micros(100));
    let large = fastest(10_000);
    assert!(
        large < small * 80,
        "{small:?} for 625 steps, {large:?} for 10,000"
    );
}

#[test]
fn a_chain_of_ten_thousand_steps_is_linear() {
    assert_linear(chain);
}

#[test]
fn a_fan_of_ten_thousand_steps_is_linear() {
    assert_linear(fan);
}

#[test]
fn a_cancelled_fan_reports_each_step_once() {
    let mut bench = Bench::started(&fan(200));
    bench.complete("first");
    bench.turn([Input::Cancel]);
    let reports: Vec<Input> = bench
        .out
        .iter()
        .map(|(step, attempt)| Input::StepReported {
            step: *step,
            attempt: *attempt,
            outcome: Outcome::Aborted,
            duration_us: 0,
        })
        .collect();
    assert_eq!(reports.len(), 199);
    let turn = bench.turn(reports);
    assert_eq!(turn.records.len(), 200);
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
}
