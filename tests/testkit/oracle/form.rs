//! Which form of a fault test is run, and whether it can be.

/// A number that the environment gives.
pub fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Whether the long form is asked for.
pub fn is_long() -> bool {
    std::env::var_os("GUESTBOOK_TEST_LONG").is_some()
}

/// How long something that is promised within this time may take: in the long form, which has the machine to itself, so long; in
/// the short one until it is certain that it does not come, because other work may run beside it.
pub fn within(promise: std::time::Duration) -> std::time::Duration {
    match is_long() {
        true => promise,
        false => promise.max(std::time::Duration::from_secs(60)),
    }
}

/// How often to do something: more in the long form, and as often as `GUESTBOOK_TEST_ROUNDS` says if it does.
pub fn rounds(short: usize, long: usize) -> usize {
    let usual = if is_long() { long } else { short };
    given("GUESTBOOK_TEST_ROUNDS").map_or(usual, |rounds| usize::try_from(rounds).unwrap())
}

/// What a fault test needs; without it the test says so and is left out, or fails where that is not allowed.
pub fn needed<T>(harness: Result<T, String>) -> Option<T> {
    match harness {
        Ok(harness) => Some(harness),
        Err(reason) => {
            println!("SKIP: {reason}");
            let required = std::env::var_os("GUESTBOOK_REQUIRE_RIGS").is_some();
            assert!(!required, "GUESTBOOK_REQUIRE_RIGS is set, but: {reason}");
            None
        }
    }
}
