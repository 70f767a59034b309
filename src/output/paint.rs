//! How durations, statuses and long texts look.

use std::fmt::Display;
use std::time::Duration;

use crane_core::{RunStatus, StepStatus};
use owo_colors::{OwoColorize, Style};

/// Colors, or their absence.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colored: bool,
}

impl Paint {
    /// Colors only if `colored`.
    pub fn new(colored: bool) -> Self {
        Self { colored }
    }

    fn style(self, text: impl Display, style: Style) -> String {
        if self.colored {
            text.style(style).to_string()
        } else {
            text.to_string()
        }
    }

    /// Something to notice.
    pub fn bold(self, text: impl Display) -> String {
        self.style(text, Style::new().bold())
    }

    /// Something beside the point.
    pub fn dim(self, text: impl Display) -> String {
        self.style(text, Style::new().dimmed())
    }

    /// Something that went well.
    pub fn good(self, text: impl Display) -> String {
        self.style(text, Style::new().green())
    }

    /// Something that may become bad.
    pub fn warn(self, text: impl Display) -> String {
        self.style(text, Style::new().yellow())
    }

    /// Something that went badly.
    pub fn bad(self, text: impl Display) -> String {
        self.style(text, Style::new().red())
    }

    /// The status of a step.
    pub fn step(self, status: StepStatus) -> String {
        let text = status.as_str();
        match status {
            StepStatus::Completed => self.good(text),
            StepStatus::Failed => self.bad(text),
            StepStatus::Waiting | StepStatus::Cancelled => self.warn(text),
            StepStatus::Running => self.bold(text),
            StepStatus::Pending | StepStatus::Skipped => self.dim(text),
        }
    }

    /// The status of a run.
    pub fn run(self, status: RunStatus) -> String {
        let text = status.as_str();
        match status {
            RunStatus::Completed => self.good(text),
            RunStatus::Failed => self.bad(text),
            RunStatus::Waiting | RunStatus::Cancelled => self.warn(text),
            RunStatus::Running => self.bold(text),
            RunStatus::Pending => self.dim(text),
        }
    }
}

/// A duration with about three digits: `45 us`, `1.3 ms`, `12 ms`, `1.25 s`, `30 s`, `2m 5s`, `3h 2m`,
/// `4d 1h`.
pub fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1_000.0;
    let seconds = duration.as_secs();
    if milliseconds < 0.9995 {
        format!("{:.0} us", milliseconds * 1_000.0)
    } else if milliseconds < 9.95 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 999.5 {
        format!("{milliseconds:.0} ms")
    } else if seconds < 60 {
        let text = format!("{:.2}", duration.as_secs_f64());
        format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
    } else if seconds < 3_600 {
        format!("{}m {}s", seconds / 60, seconds % 60)
    } else if seconds < 86_400 {
        format!("{}h {}m", seconds / 3_600, seconds / 60 % 60)
    } else {
        format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24)
    }
}

/// [`duration`] of microseconds.
pub fn micros(microseconds: u64) -> String {
    duration(Duration::from_micros(microseconds))
}

/// A text on one line of at most `most` characters, without control characters: what comes from
/// tools and plans must not move the cursor of whoever looks at it.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (count, character) in text.trim().chars().enumerate() {
        if count == most {
            line.pop();
            line.push('…');
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_about_three_digits() {
        let shown = |microseconds| micros(microseconds);
        assert_eq!(shown(300), "300 us");
        assert_eq!(shown(1_300), "1.3 ms");
        assert_eq!(shown(12_345), "12 ms");
        assert_eq!(shown(999_900), "1 s");
        assert_eq!(shown(59_990_000), "59.99 s");
        assert_eq!(shown(125_000_000), "2m 5s");
        assert_eq!(shown(3_720_000_000), "1h 2m");
        assert_eq!(shown(90_000_000_000), "1d 1h");
    }

    #[test]
    fn a_text_becomes_one_line_without_control_characters() {
        assert_eq!(one_line("a\nb\x1b[31mc", 20), "a b [31mc");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("abcd", 4), "abcd");
    }

    #[test]
    fn colors_stay_away_when_they_are_not_wanted() {
        assert_eq!(Paint::new(false).run(RunStatus::Failed), "failed");
        assert!(Paint::new(true).run(RunStatus::Failed).contains("\x1b[31m"));
    }
}
