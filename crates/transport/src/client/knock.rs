//! Connecting to a server that may be cut off at present.

use std::{future::pending, io::Result, net::SocketAddr, time::Duration};

use tokio::time::timeout;

use crate::dial::first;

/// How long one attempt is alone, give or take a fifth by chance. The system sends the packet that opens a connection again
/// after 1, 3 and 7 s: who waits for that finds out seconds late that a network is whole again.
const KNOCK: Duration = Duration::from_millis(500);

/// Connects to the [`first`] of these addresses. As long as all are silent, it begins anew beside the first attempt every half
/// second, so that one packet is always young; a way that is whole again is found within that time. The first attempt goes
/// on, for servers that are further away. Whatever is answered, be it a refusal, counts. The caller sets the limit.
pub(super) async fn knock<C: Future<Output = Result<T>>, T>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> C,
) -> Result<T> {
    let patient = first(addresses.iter().copied(), &connect);
    let young = async {
        // The first attempt is still young itself.
        timeout(pause(), pending::<()>()).await.ok();
        loop {
            if let Ok(answer) = timeout(pause(), first(addresses.iter().copied(), &connect)).await {
                break answer;
            }
        }
    };
    tokio::select! {
        biased;
        answer = patient => answer,
        answer = young => answer,
    }
}

fn pause() -> Duration {
    KNOCK.mul_f64(0.8 + fastrand::f64() * 0.4)
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        io::{Error, ErrorKind},
    };

    use tokio::time::{Instant, sleep, sleep_until};

    use super::*;

    const SERVER: [SocketAddr; 1] = [SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1)];

    /// Knocks at a server behind a way that loses everything for so long, and then answers so far away; when it is heard,
    /// and when attempts began.
    async fn heard(whole_after: Duration, away: Duration) -> (Duration, Vec<Duration>) {
        let (began, attempts) = (Instant::now(), RefCell::new(Vec::new()));
        let connect = async |_| {
            attempts.borrow_mut().push(began.elapsed());
            // As the system sends it: at once, and after 1, 3 and 7 s.
            for wait in [0, 1, 2, 4] {
                sleep(Duration::from_secs(wait)).await;
                if began.elapsed() >= whole_after {
                    sleep(away).await;
                    return Ok(());
                }
            }
            pending().await
        };
        knock(&SERVER, connect).await.unwrap();
        (began.elapsed(), attempts.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_way_that_is_whole_again_is_found_within_a_moment() {
        for cut in [0, 300, 1100, 3100, 4900] {
            let cut = Duration::from_millis(cut);
            let (found, attempts) = heard(cut, Duration::ZERO).await;
            assert!(found <= cut + KNOCK.mul_f64(1.2), "cut for {cut:?}, found after {found:?}");
            let gaps = attempts.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.min().is_none_or(|gap| gap >= KNOCK.mul_f64(0.8)), "{attempts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_far_away_is_reached_all_the_same() {
        let (found, attempts) = heard(Duration::ZERO, Duration::from_secs(2)).await;
        assert_eq!(found.as_secs(), 2, "by the first attempt; there were {}", attempts.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer_of_whichever_attempt() {
        let count = Cell::new(0);
        let connect = async |_| {
            count.set(count.get() + 1);
            if count.get() < 3 { pending().await } else { Err::<(), _>(Error::from(ErrorKind::ConnectionRefused)) }
        };
        assert_eq!(knock(&SERVER, connect).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(count.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_are_given_up_end() {
        let open = Cell::new(0);
        let connect = async |_| {
            struct One<'a>(&'a Cell<usize>);
            impl Drop for One<'_> {
                fn drop(&mut self) {
                    self.0.set(self.0.get() - 1);
                }
            }
            open.set(open.get() + 1);
            let _one = One(&open);
            pending::<Result<()>>().await
        };
        let end = Instant::now() + Duration::from_secs(60);
        let looking = async {
            while Instant::now() < end {
                sleep_until(Instant::now() + Duration::from_millis(70)).await;
                assert!(open.get() <= 2, "{} at once", open.get());
            }
        };
        tokio::select! {
            _ = knock(&SERVER, connect) => unreachable!("nobody answers"),
            () = looking => {}
        }
    }
}
