//! When a failed attempt is repeated: exponential back-off with a bound and optional jitter.

use std::time::Duration;

/// Exponential back-off with optional jitter and a bound on attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// Delay before the second attempt.
    pub initial: Duration,
    /// Each delay is this times the one before.
    pub factor: f64,
    /// No delay is longer.
    pub max: Duration,
    /// Whether delays are spread, so that many failed steps do not come back at once.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    /// The contract's default: 3 attempts after 1 s and 2 s, jittered.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: true,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the `failed_attempts`-th failure (1 for the first):
    /// `initial * factor^(n - 1)`, at most `max`, and with jitter between half of that and the whole.
    pub fn delay(&self, failed_attempts: u32, seed: u64) -> Duration {
        let delay = backoff(self.initial, self.factor, self.max, failed_attempts);
        if self.jitter {
            spread(delay, seed)
        } else {
            delay
        }
    }
}

/// `initial * factor^(n - 1)`, at most `max`, for the `n`-th failure in a row; nothing overflows,
/// and a factor that is no number counts as 1.
pub(crate) fn backoff(initial: Duration, factor: f64, max: Duration, n: u32) -> Duration {
    let factor = if factor.is_finite() {
        factor.max(0.0)
    } else {
        1.0
    };
    let grown = initial.as_secs_f64() * factor.powf(f64::from(n.saturating_sub(1)));
    if grown >= max.as_secs_f64() {
        return max;
    }
    Duration::try_from_secs_f64(grown).map_or(max, |delay| delay.min(max))
}

/// A delay between half of `delay` and the whole of it, the same for the same seed ("equal jitter":
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub(crate) fn spread(delay: Duration, seed: u64) -> Duration {
    scale(delay, 0.5 + 0.5 * fraction(seed)).min(delay)
}

/// `share` of `delay`; the longest duration where that is too long to be told.
pub(crate) fn scale(delay: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(delay.as_secs_f64() * share).unwrap_or(Duration::MAX)
}

/// A number in `0.0..1.0` that looks random and depends on the seed alone (`SplitMix64`,
/// <https://prng.di.unimi.it/splitmix64.c>).
#[allow(clippy::cast_precision_loss)] // 53 bits are kept, which is all that a double holds
pub(crate) fn fraction(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 10,
            initial: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_secs(1),
            jitter: false,
        }
    }

    #[test]
    fn each_delay_is_the_factor_times_the_one_before_up_to_the_longest() {
        let delays: Vec<u128> = (1..=5).map(|n| policy().delay(n, 0).as_millis()).collect();
        assert_eq!(delays, [200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn jitter_takes_at_most_half_away_and_depends_on_the_seed() {
        let jittered = RetryPolicy {
            jitter: true,
            ..policy()
        };
        let all: Vec<Duration> = (0..100).map(|seed| jittered.delay(2, seed)).collect();
        assert!(
            all.iter()
                .all(|delay| (200..=400).contains(&delay.as_millis()))
        );
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(
            distinct.len() > 90,
            "only {} distinct delays",
            distinct.len()
        );
        assert_eq!(jittered.delay(2, 7), jittered.delay(2, 7));
    }

    #[test]
    fn the_default_waits_about_one_and_then_two_seconds() {
        let policy = RetryPolicy::default();
        for (failed, longest) in [(1, 1_000), (2, 2_000)] {
            let delay = policy.delay(failed, 3).as_millis();
            assert!((longest / 2..=longest).contains(&delay), "{delay} ms");
        }
    }

    proptest! {
        #[test]
        fn no_delay_is_above_the_longest_and_nothing_overflows(
            initial in any::<u64>(),
            factor in any::<f64>(),
            max in any::<u64>(),
            failed in any::<u32>(),
            seed in any::<u64>(),
            jitter in any::<bool>(),
        ) {
            let policy = RetryPolicy {
                max_attempts: 1,
                initial: Duration::from_micros(initial),
                factor,
                max: Duration::from_micros(max),
                jitter,
            };
            prop_assert!(policy.delay(failed, seed) <= policy.max);
        }
    }
}
