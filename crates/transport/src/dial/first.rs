//! The first of several addresses that answers.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::timeout;

/// How long an address may be silent before the next one is tried as well (RFC 8305 calls it the Connection Attempt
/// Delay). Its least, because instances are near, and because all addresses share the connect timeout.
const DELAY: Duration = Duration::from_millis(100);

/// What an error of one address says of all, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    /// This machine has no address or port to connect from: perhaps only none of this family.
    NoSource,
    /// The instance, or what is on the way to it.
    Failed,
    /// This machine has no descriptor or memory left, so that nothing is known.
    Exhausted,
}

impl Says {
    pub(super) fn of(error: &Error) -> Self {
        // On Linux; no name in std tells them all apart.
        match error.raw_os_error() {
            // EADDRNOTAVAIL
            Some(99) => Self::NoSource,
            // EMFILE, ENFILE, ENOMEM, ENOBUFS
            Some(24 | 23 | 12 | 105) => Self::Exhausted,
            _ => Self::Failed,
        }
    }
}

/// Connects to these addresses in their order, each as soon as the one before it failed or was silent for [`DELAY`]. The
/// first connection is the one; whatever else is under way ends.
///
/// # Errors
/// What says most of all they failed at, once all have; the last of several.
pub(crate) async fn first<C: Future<Output = Result<T>>, T>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> C,
) -> Result<T> {
    let mut addresses = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut worst: Option<Error> = None;
    loop {
        let next = addresses.next();
        let patience = if next.is_some() { DELAY } else { Duration::MAX };
        under_way.extend(next.map(&connect));
        match timeout(patience, under_way.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) if worst.as_ref().is_some_and(|worst| Says::of(worst) > Says::of(&error)) => {}
            Ok(Some(Err(error))) => worst = Some(error),
            Ok(None) => return Err(worst.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "the name has no address"))),
            Err(_silent) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// What an address does: after so many milliseconds it answers, or fails.
    type Plan = (u64, bool);

    /// Which address connects if they do this, and after how many milliseconds.
    async fn connects(plans: &[Plan]) -> (Option<u16>, u128) {
        let addresses = (0..plans.len()).map(|port| SocketAddr::from(([192, 0, 2, 1], port as u16)));
        let connect = async |to: SocketAddr| {
            let (after, answers) = plans[usize::from(to.port())];
            sleep(Duration::from_millis(after)).await;
            if answers { Ok(to.port()) } else { Err(Error::other(to.port().to_string())) }
        };
        let began = Instant::now();
        let found = first(addresses, connect).await;
        if let Err(error) = &found {
            let all = plans.iter().all(|(_, answers)| !answers);
            assert!(all, "{error} though one answers: {plans:?}");
        }
        (found.ok(), began.elapsed().as_millis())
    }

    const DEAD: Plan = (1_000_000, false);

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_a_moment_and_a_dead_one_nothing() {
        assert_eq!(connects(&[(3, true), (1, true)]).await, (Some(0), 3));
        assert_eq!(connects(&[DEAD, (3, true)]).await, (Some(1), 103));
        assert_eq!(connects(&[DEAD, DEAD, (3, true), (1, true)]).await, (Some(2), 203));
        assert_eq!(connects(&[(3, false), (3, true)]).await, (Some(1), 6));
        assert_eq!(connects(&[(150, true), DEAD]).await, (Some(0), 150), "it is not given up for the next one");
        assert_eq!(connects(&[(150, true), (500, true)]).await, (Some(0), 150));
    }

    #[tokio::test]
    async fn the_address_that_says_most_decides_whose_fault_it_is() {
        const REFUSED: i32 = 111;
        for (codes, told) in [
            (&[REFUSED, 99][..], REFUSED),
            (&[99, REFUSED], REFUSED),
            (&[99, 99], 99),
            (&[24, REFUSED], 24),
            (&[REFUSED, 24, 99], 24),
            (&[REFUSED, 113], 113),
        ] {
            let addresses = (0..codes.len()).map(|port| SocketAddr::from(([192, 0, 2, 1], port as u16)));
            let connect = async |to: SocketAddr| Err::<(), _>(Error::from_raw_os_error(codes[usize::from(to.port())]));
            assert_eq!(first(addresses, connect).await.unwrap_err().raw_os_error(), Some(told), "{codes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_an_error_once_all_have_failed() {
        assert_eq!(connects(&[]).await, (None, 0));
        assert_eq!(connects(&[(500, false), (3, false)]).await, (None, 500));
    }
}
