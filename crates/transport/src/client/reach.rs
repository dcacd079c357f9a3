//! Connecting by name to a server that may be cut off at present, and its resolver with it.

use std::{io::Result, net::SocketAddr, pin::pin, time::Duration};

use tokio::time::sleep;

use super::knock::knock;
use crate::dial::is_unknown;

/// Connects where the name leads by a `fresh` look-up. A resolver that was silent for as long as `patience`, or fails, is
/// not waited for: its question was lost with everything else, and the system asks again after five seconds only. Then
/// what is `known` from before is tried beside it, until it says something newer.
///
/// # Errors
/// What connecting failed with; or the look-up, if there is no such name any more.
pub(super) async fn reach<C: Future<Output = Result<T>>, T>(
    known: &[SocketAddr],
    patience: Duration,
    fresh: impl Future<Output = Result<Vec<SocketAddr>>>,
    connect: impl Fn(SocketAddr) -> C,
) -> Result<T> {
    let mut knocking = pin!(async {
        sleep(patience).await;
        knock(known, &connect).await
    });
    tokio::select! {
        biased;
        found = fresh => match found {
            Ok(found) => knock(&found, &connect).await,
            Err(error) if is_unknown(&error) => Err(error),
            Err(_) => knocking.await,
        },
        answer = &mut knocking => answer,
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, io::Error};

    use tokio::time::Instant;

    use super::*;

    const OLD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);
    const NEW: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 1);
    const PATIENCE: Duration = Duration::from_millis(300);

    /// What a look-up ends with, and after how many milliseconds.
    type Found = (u64, Result<Vec<SocketAddr>>);

    /// Where it connects, and after how many milliseconds, if the look-up does this and these addresses answer.
    async fn reached(found: Option<Found>, answer: &[SocketAddr]) -> (Result<SocketAddr>, u128) {
        let fresh = async {
            let Some((after, found)) = found else { return pending().await };
            sleep(Duration::from_millis(after)).await;
            found
        };
        let connect = async |to: SocketAddr| if answer.contains(&to) { Ok(to) } else { pending().await };
        let began = Instant::now();
        (reach(&[OLD], PATIENCE, fresh, connect).await, began.elapsed().as_millis())
    }

    async fn check(found: Option<Found>, answer: &[SocketAddr], expected: SocketAddr, millis: u128) {
        let (reached, took) = reached(found, answer).await;
        assert_eq!((reached.unwrap(), took), (expected, millis));
    }

    fn failed<T>(text: &str) -> Result<T> {
        Err(Error::other(text.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_word_counts_if_it_comes_in_time() {
        check(Some((5, Ok(vec![NEW]))), &[OLD, NEW], NEW, 5).await;
        check(Some((299, Ok(vec![NEW]))), &[OLD, NEW], NEW, 299).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_resolver_costs_a_moment() {
        check(None, &[OLD], OLD, 300).await;
        check(Some((5000, Ok(vec![NEW]))), &[OLD, NEW], OLD, 300).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_moved_is_found_as_soon_as_the_resolver_says_where() {
        check(Some((2000, Ok(vec![NEW]))), &[NEW], NEW, 2000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_fails_is_as_good_as_a_silent_one() {
        check(Some((0, failed("Temporary failure in name resolution"))), &[OLD], OLD, 300).await;
        check(Some((2000, failed("Try again"))), &[OLD], OLD, 300).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_no_more_leads_nowhere() {
        let (reached, took) = reached(Some((5, failed("Name or service not known"))), &[OLD]).await;
        assert_eq!((reached.unwrap_err().to_string(), took), ("Name or service not known".to_owned(), 5));
    }
}
