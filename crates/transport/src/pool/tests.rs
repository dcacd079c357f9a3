use std::{future::pending, net::SocketAddr, pin::pin};

use balancer::{Admission, Cause, Vitals};
use model::{Address, Host, InstanceId, Protocol, ServiceId};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, LocalSet, yield_now},
    time::{sleep, timeout},
};

use super::{dials::REST, *};
use crate::{Learned, clock, dial::DialFuture, io::Stream};

const LIMIT: Duration = Duration::from_secs(1);

/// Counts connection attempts, and makes them or not.
#[derive(Debug, Default)]
struct Dialler {
    attempts: Cell<usize>,
    /// Most under way at one time.
    most: Cell<usize>,
    now: Cell<usize>,
    /// What accepts them; `None`: nobody answers.
    to: Cell<Option<SocketAddr>>,
    /// The first so many are not answered.
    silent: Cell<usize>,
    /// Refused from this one on.
    cap: Cell<Option<usize>>,
    /// By this machine.
    ours: Cell<bool>,
    /// `https` whose ALPN chooses HTTP/2.
    h2: Cell<bool>,
}

impl Dial for Dialler {
    fn dial<'a>(&'a self, upstream: &'a Upstream, _: Instant) -> DialFuture<'a> {
        let silent = self.attempts.get() < self.silent.get();
        let refused = self.cap.get().is_some_and(|cap| self.attempts.get() >= cap);
        self.attempts.set(self.attempts.get() + 1);
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        Box::pin(async move {
            if refused {
                yield_now().await;
                self.now.set(self.now.get() - 1);
                let why = if self.ours.get() { DialError::Local } else { DialError::Connect };
                return Err(why("refused".into()));
            }
            let Some(to) = self.to.get().filter(|_| !silent) else { return pending().await };
            let stream = TcpStream::connect(to).await;
            self.now.set(self.now.get() - 1);
            let version = if self.h2.get() { Version::H2 } else { Version::H1 };
            upstream.learn(version);
            Ok((Stream::Tcp(stream.map_err(|e| DialError::Connect(e.to_string()))?), version))
        })
    }
}

fn upstream(protocol: Protocol) -> Arc<Upstream> {
    let address = Address { host: Host::Ip([192, 0, 2, 1].into()), port: 80 };
    let (service, id) = (ServiceId::new("pets").unwrap(), InstanceId::new("a").unwrap());
    let vitals = Arc::new(Vitals::default());
    Arc::new(Upstream::new(service, id, address, protocol, None, Learned { vitals, ..Learned::default() }))
}

fn pool(dialler: &Rc<Dialler>) -> Rc<Pool> {
    Pools::new(Rc::clone(dialler) as Rc<dyn Dial>).of(&upstream(Protocol::Http))
}

fn cause(pool: &Pool) -> Option<Cause> {
    match pool.upstream.vitals.state(clock::tick()) {
        Admission::Out { cause, .. } => Some(cause),
        _ => None,
    }
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// So many requests that want a connection at once.
fn ask(pool: &Rc<Pool>, count: usize) -> Vec<JoinHandle<Result<Option<Ready>, DialError>>> {
    ask_within(pool, count, LIMIT)
}

fn ask_within(pool: &Rc<Pool>, count: usize, limit: Duration) -> Vec<JoinHandle<Result<Option<Ready>, DialError>>> {
    let ask = |_| {
        let pool = Rc::clone(pool);
        spawn_local(async move { pool.ready(true, || true, limit).await })
    };
    (0..count).map(ask).collect()
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_answer_costs_four_attempts_whoever_waits() {
    let test = async {
        let dialler = Rc::new(Dialler::default());
        let pool = pool(&dialler);
        let waiting = ask(&pool, 200);
        settle().await;
        assert_eq!(dialler.attempts.get(), 4);
        for request in waiting {
            let error = timeout(LIMIT * 2, request).await.expect("in time").unwrap().unwrap_err();
            assert_eq!(error, DialError::Timeout(LIMIT));
        }
        assert_eq!((dialler.attempts.get(), cause(&pool)), (4, Some(Cause::Connect)));
        assert_eq!(pool.dials.waiting(), 0);
        // Who is sent there in spite of that learns it from one attempt.
        for request in ask(&pool, 50) {
            assert!(request.await.unwrap().is_err());
        }
        assert_eq!(dialler.attempts.get(), 5);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_silence_whoever_came_later() {
    let test = async {
        let dialler = Rc::new(Dialler::default());
        let pool = pool(&dialler);
        let began = Instant::now();
        let mut waiting = ask(&pool, 1);
        sleep(LIMIT / 2).await;
        waiting.extend(ask(&pool, 1));
        for request in waiting {
            assert_eq!(request.await.unwrap().unwrap_err(), DialError::Timeout(LIMIT));
        }
        assert_eq!((dialler.attempts.get(), cause(&pool)), (2, Some(Cause::Connect)));
        assert!(began.elapsed() < LIMIT * 5 / 4, "{:?}", began.elapsed());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_found_out_also_if_nobody_waits_for_so_long() {
    let test = async {
        let dialler = Rc::new(Dialler::default());
        let pool = pool(&dialler);
        for request in ask(&pool, 10) {
            assert!(timeout(LIMIT / 10, request).await.is_err(), "given up");
        }
        assert_eq!(cause(&pool), None);
        sleep(LIMIT).await;
        settle().await;
        assert_eq!(cause(&pool), Some(Cause::Connect));
    };
    LocalSet::new().run_until(test).await;
}

/// A dialler of something that accepts every connection, and keeps it as long as that task runs.
async fn accepting() -> (Rc<Dialler>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialler = Rc::new(Dialler::default());
    dialler.to.set(Some(listener.local_addr().unwrap()));
    let accepts = spawn_local(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await.unwrap());
        }
    });
    (dialler, accepts)
}

#[tokio::test]
async fn an_instance_that_answers_gets_as_many_as_are_wanted() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        let pool = pool(&dialler);
        let mut open = Vec::new();
        for request in ask(&pool, 100) {
            let ready = timeout(LIMIT * 10, request).await.expect("a connection").unwrap();
            open.push(ready.unwrap().unwrap());
        }
        assert!(pool.ready(true, || false, LIMIT).await.unwrap().is_none(), "a body that has not begun");
        assert_eq!((dialler.attempts.get(), pool.dials.waiting(), pool.dials.now()), (100, 0, 0));
        assert!(dialler.most.get() > 8, "as slow as at first: {}", dialler.most.get());
        // One that comes back serves who waits.
        dialler.to.set(None);
        let mut waiting = pin!(pool.ready(true, || true, LIMIT));
        assert!(timeout(LIMIT / 20, &mut waiting).await.is_err());
        let Some(Ready::H1(connection)) = open.pop() else { panic!("HTTP/1.1") };
        pool.give_back(connection);
        assert!(timeout(LIMIT / 2, waiting).await.expect("at once").is_ok());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn several_unanswered_requests_are_a_doubt_that_a_connection_settles() {
    let test = async {
        let dialler = Rc::new(Dialler::default());
        let pool = pool(&dialler);
        let give_up = || drop(Listening::new(&pool, None));
        give_up();
        give_up();
        Listening::new(&pool, None).heard();
        give_up();
        give_up();
        let half = crate::upload::Tally::new(u64::MAX);
        (0..9).for_each(|_| drop(Listening::new(&pool, Some(Rc::clone(&half)))));
        settle().await;
        assert_eq!((dialler.attempts.get(), cause(&pool)), (0, None), "not three complete ones in a row");
        (0..9).for_each(|_| give_up());
        settle().await;
        assert_eq!((dialler.attempts.get(), cause(&pool)), (1, None), "a doubt is no proof");
        sleep(LIMIT * 2).await;
        settle().await;
        assert_eq!((dialler.attempts.get(), cause(&pool)), (1, Some(Cause::Connect)));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn one_that_takes_no_more_connections_serves_all_who_wait_with_those_it_has() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.cap.set(Some(3));
        let pool = pool(&dialler);
        let serve = |request: JoinHandle<Result<Option<Ready>, DialError>>| {
            let pool = Rc::clone(&pool);
            spawn_local(async move {
                let Ok(Some(Ready::H1(connection))) = request.await.unwrap() else {
                    panic!("no connection of HTTP/1.1")
                };
                sleep(Duration::from_millis(20)).await;
                pool.give_back(connection);
            })
        };
        let served: Vec<_> = ask(&pool, 30).into_iter().map(serve).collect();
        for request in served {
            timeout(LIMIT * 10, request).await.expect("in time").expect("served");
        }
        assert_eq!((cause(&pool), pool.dials.waiting()), (None, 0));
        assert!(dialler.attempts.get() < 20, "asked without rest: {}", dialler.attempts.get());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn who_waits_for_one_that_serves_others_only_is_told_that_it_is_full() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.cap.set(Some(1));
        let pool = pool(&dialler);
        let _taken = pool.ready(true, || true, LIMIT).await.unwrap();
        let mut waiting = pin!(pool.ready(true, || true, LIMIT / 4));
        let found = loop {
            match timeout(REST / 5, &mut waiting).await {
                Ok(found) => break found,
                // Another connection came back, and another request had it.
                Err(_) => pool.dials.available(Instant::now()),
            }
        };
        assert_eq!((found.unwrap_err(), cause(&pool)), (DialError::Full, None));
        assert_eq!(pool.upstream.trouble().as_deref(), Some("cannot connect: refused"), "told all the same");
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

#[tokio::test]
async fn one_that_is_gone_fails_all_who_wait_at_once() {
    let test = async {
        let (dialler, accepts) = accepting().await;
        dialler.cap.set(Some(4));
        let pool = pool(&dialler);
        let mut open = Vec::new();
        for request in ask(&pool, 4) {
            open.push(request.await.unwrap().unwrap().unwrap());
        }
        accepts.abort();
        while pool.h1_live() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // It served a moment ago; but its connections ended with it.
        pool.dials.available(Instant::now());
        dialler.most.set(0);
        for request in ask(&pool, 20) {
            assert_eq!(request.await.unwrap().unwrap_err(), DialError::Connect("refused".into()));
        }
        assert_eq!(dialler.attempts.get() - 4, dialler.most.get(), "asked again");
        assert_eq!((cause(&pool), pool.dials.now()), (Some(Cause::Connect), 0));
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

fn knock(pool: &Rc<Pool>, limit: Duration) -> JoinHandle<Result<(), DialError>> {
    let (pool, lease) = (Rc::clone(pool), Lease::begun(Arc::clone(&pool.upstream), clock::tick(), true));
    spawn_local(async move { pool.knock(lease, limit).await })
}

#[tokio::test]
async fn a_lost_syn_says_nothing_of_an_instance_that_serves_since() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.silent.set(1);
        let pool = pool(&dialler);
        let mut open = Vec::new();
        for request in ask_within(&pool, 2, REST * 3) {
            open.push(request.await.unwrap().expect("a connection"));
        }
        assert_eq!((dialler.attempts.get(), cause(&pool)), (3, None));
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

#[tokio::test]
async fn a_knock_in_vain_says_nothing_of_an_instance_that_serves_since() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        let pool = pool(&dialler);
        let Some(Ready::H1(connection)) = pool.ready(true, || true, LIMIT).await.unwrap() else { panic!("HTTP/1.1") };
        dialler.to.set(None);
        sleep(REST).await;
        let knock = knock(&pool, REST * 3);
        settle().await;
        pool.give_back(connection);
        assert_eq!(knock.await.unwrap(), Ok(()));
        assert_eq!(cause(&pool), None);
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

#[tokio::test]
async fn who_waits_gets_the_connection_of_a_knock() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.silent.set(1);
        let pool = pool(&dialler);
        let waiting = ask(&pool, 1);
        settle().await;
        knock(&pool, LIMIT).await.unwrap().expect("it answers");
        for request in waiting {
            timeout(LIMIT / 2, request).await.expect("at once").unwrap().expect("a connection");
        }
        assert_eq!(dialler.attempts.get(), 2);
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

#[tokio::test]
async fn what_this_machine_lacks_is_told_and_those_there_are_serve_all() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.cap.set(Some(1));
        dialler.ours.set(true);
        let pool = pool(&dialler);
        let Some(Ready::H1(connection)) = pool.ready(true, || true, LIMIT).await.unwrap() else { panic!("HTTP/1.1") };
        let waiting = ask(&pool, 1);
        settle().await;
        assert_eq!(pool.upstream.trouble().as_deref(), Some("out of resources: refused"));
        assert_eq!(pool.complaints.borrow_mut().add(1, clock::tick()), None, "the log has it");
        pool.give_back(connection);
        for request in waiting {
            assert!(request.await.unwrap().is_ok());
        }
        assert_eq!(cause(&pool), None);
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}

#[tokio::test]
async fn all_who_wait_share_a_connection_of_one_that_speaks_http_2_now() {
    let test = async {
        let (dialler, _accepts) = accepting().await;
        dialler.h2.set(true);
        let upstream = upstream(Protocol::Https);
        upstream.learn(Version::H1);
        let pool = Pools::new(Rc::clone(&dialler) as Rc<dyn Dial>).of(&upstream);
        for request in ask(&pool, 50) {
            let ready = timeout(LIMIT / 2, request).await.expect("at once").unwrap();
            assert!(matches!(ready, Ok(Some(Ready::H2(_)))));
        }
        assert!(dialler.attempts.get() <= 4, "{} for all", dialler.attempts.get());
        assert_eq!((pool.dials.waiting(), pool.dials.wanted()), (0, 0));
    };
    LocalSet::new().run_until(timeout(LIMIT * 10, test)).await.expect("an end");
}
