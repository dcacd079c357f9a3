//! The one place where [`Tick`]s come from.

use std::sync::OnceLock;

use model::Tick;
use tokio::time::Instant;

/// Now, as nanoseconds since the first call in this process. Follows tokio's clock, so paused tests work.
#[must_use]
pub fn tick() -> Tick {
    at(Instant::now())
}

/// That instant as a tick; instants before the first call count as the beginning.
#[must_use]
pub fn at(instant: Instant) -> Tick {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    Tick::default().after(instant.saturating_duration_since(epoch))
}
