//! Tries again what may work later, until a deadline.

use super::outcome::{Again, Failure};
use std::time::{Duration, Instant};

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Attempts at one message.
const MAX_ATTEMPTS: u32 = 5;

/// The first pause; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// Calls `attempt` with the time it has, until it succeeds, says that it never will, or the time is
/// over. Returns how often it was called.
pub(super) async fn until<T>(
    deadline: Instant,
    mut attempt: impl AsyncFnMut(Duration) -> Result<T, Failure>,
) -> (u32, Result<T, Failure>) {
    let mut attempts = 0;
    loop {
        let limit = deadline
            .saturating_duration_since(Instant::now())
            .min(ATTEMPT);
        attempts += 1;
        let failure = match tokio::time::timeout(limit, attempt(limit)).await {
            Ok(Ok(done)) => return (attempts, Ok(done)),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::soon(no_answer(limit)),
        };
        let pause = match failure.again {
            Again::Never => return (attempts, Err(failure)),
            Again::Soon => jittered(PAUSE * 2_u32.pow(attempts - 1)),
            Again::After(pause) => pause,
        };
        // A server may ask for a pause that no clock can hold.
        let next = Instant::now().checked_add(pause);
        if attempts == MAX_ATTEMPTS || next.is_none_or(|next| next >= deadline) {
            return (attempts, Err(failure));
        }
        tokio::time::sleep(pause).await;
    }
}

/// The message of an attempt that took too long.
pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {:.0} s", limit.as_secs_f64().ceil())
}

/// Between half of `pause` and one and a half, so that jobs that failed together do not come back
/// together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without random bytes it is the middle.
    let part = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(random[0]) / 255.0,
        Err(_) => 0.5,
    };
    pause.mul_f64(0.5 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        limit: Duration,
        results: Vec<Result<&'static str, Failure>>,
    ) -> (u32, Result<&'static str, String>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let begun = Instant::now();
        let mut results = results.into_iter();
        let (attempts, result) = runtime.block_on(until(begun + limit, async |_| {
            results.next().expect("no further attempt")
        }));
        (
            attempts,
            result.map_err(Failure::into_text),
            begun.elapsed(),
        )
    }

    #[test]
    fn only_what_may_work_later_is_tried_again() {
        let second = Duration::from_secs(1);
        let after = |pause| Failure {
            text: "busy".to_owned(),
            again: Again::After(pause),
        };
        let (attempts, result, _) = run(second * 5, vec![Err(Failure::soon("down")), Ok("ok")]);
        assert_eq!((attempts, result), (2, Ok("ok")));
        let (attempts, result, _) = run(second * 5, vec![Err(Failure::never("no"))]);
        assert_eq!((attempts, result), (1, Err("no".to_owned())));
        let pause = Duration::from_millis(60);
        let (attempts, result, took) = run(second, vec![Err(after(pause)), Ok("ok")]);
        assert_eq!((attempts, result), (2, Ok("ok")));
        assert!(took >= pause, "{took:?}");
        // A pause that is longer than what is left is not slept.
        let (attempts, _, took) = run(second, vec![Err(after(second * 60))]);
        assert_eq!(attempts, 1);
        assert!(took < second, "{took:?}");
        // Nor is one that no clock can hold.
        let (attempts, result, _) = run(second, vec![Err(after(Duration::MAX))]);
        assert_eq!((attempts, result), (1, Err("busy".to_owned())));
    }

    #[test]
    fn the_deadline_holds_when_nobody_answers() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let begun = Instant::now();
        let limit = Duration::from_millis(300);
        let (attempts, result) = runtime.block_on(until(begun + limit, async |_| {
            std::future::pending::<Result<(), Failure>>().await
        }));
        assert_eq!(attempts, 1);
        assert_eq!(result.unwrap_err().text, "no answer within 1 s");
        assert!(begun.elapsed() < limit * 3, "{:?}", begun.elapsed());
    }

    #[test]
    fn pauses_differ() {
        let pauses: Vec<Duration> = (0..32).map(|_| jittered(PAUSE)).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        assert!(pauses.iter().all(|p| (PAUSE / 2..=PAUSE * 2).contains(p)));
    }
}
