//! What each metric of this crate means, for the recorder.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counters with their help.
const COUNTERS: &[(&str, &str)] = &[
    ("crane_runs_submitted_total", "Runs accepted."),
    ("crane_runs_finished_total", "Runs that ended, by outcome."),
    (
        "crane_runs_rejected_total",
        "Submissions refused, by reason.",
    ),
    (
        "crane_runs_deduplicated_total",
        "Submissions answered with the run that their key had created.",
    ),
    (
        "crane_steps_total",
        "Steps that ended, by tool and outcome.",
    ),
    (
        "crane_step_retries_total",
        "Attempts that failed and will be repeated, by reason.",
    ),
    (
        "crane_step_timeouts_total",
        "Attempts that ran into their timeout.",
    ),
    ("crane_actor_spawns_total", "Actors spawned, by kind."),
    (
        "crane_actor_restarts_total",
        "Actors restarted, by kind and reason.",
    ),
    (
        "crane_actor_failures_total",
        "Actors that panicked or failed, by kind.",
    ),
    (
        "crane_restart_budget_exhausted_total",
        "Supervisors that gave an actor up, by kind.",
    ),
    (
        "crane_tool_calls_total",
        "Calls that reached their tool and ended, by tool and outcome.",
    ),
    (
        "crane_tool_breaker_transitions_total",
        "Breaker transitions, by new state.",
    ),
    (
        "crane_tool_rejected_total",
        "Calls refused before the tool was called, by reason.",
    ),
];

/// Gauges with their help.
const GAUGES: &[(&str, &str)] = &[
    (
        "crane_runs_active",
        "Unfinished runs by status: pending, running, waiting.",
    ),
    ("crane_actors", "Actors alive, by kind."),
    (
        "crane_mailbox_depth",
        "Messages sent and not yet handled, by kind of receiver.",
    ),
    (
        "crane_tool_breaker_state",
        "Breaker state: 0 closed, 1 half-open, 2 open.",
    ),
    ("crane_tool_inflight", "Calls under way, by tool."),
];

/// Histograms, all in seconds, with their help.
const HISTOGRAMS: &[(&str, &str)] = &[
    (
        "crane_run_duration_seconds",
        "Time from acceptance to the end of a run.",
    ),
    (
        "crane_run_queue_wait_seconds",
        "Time a run waited for a slot; 0 for one that got it at once.",
    ),
    (
        "crane_step_duration_seconds",
        "Time of an attempt inside its tool, by tool.",
    ),
    (
        "crane_step_schedule_to_start_seconds",
        "Time an attempt waited for a permit of its tool.",
    ),
    (
        "crane_message_handle_seconds",
        "Time of handling one message, by kind; of messages to run actors, one in 16.",
    ),
];

/// Tells the recorder; a recorder keeps the first description of a name.
pub fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *help);
    }
}
