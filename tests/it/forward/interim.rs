//! Interim answers: 100 is said by who takes the body, 103 is passed on, nobody gets what was not asked for.

use bytes::Bytes;
use testkit::{Client, Instance, Raw, Reply, Socket, Stream, get, post};

use super::head;
use crate::support::{Back, Config, Front, Matrix, Running, told};

async fn expecting_h1(router: &Running, service: &str) -> Socket {
    let mut socket = Socket::connect(router.clear()).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n";
    socket.send(format!("{head}service_id: {service}\r\n\r\n")).await.unwrap();
    socket
}

async fn expecting_h2(client: &Client, service: &str) -> Stream {
    let mut request = head("POST", "/", service);
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    client.open(request, false).await.unwrap()
}

#[tokio::test]
async fn a_client_that_expects_is_told_to_continue_and_then_answered() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for back in Back::ALL {
        let mut socket = expecting_h1(&matrix.router, back.service()).await;
        assert_eq!(socket.read_head().await.expect("an interim head").status(), 100, "{back:?}");
        socket.send("body").await.unwrap();
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{back:?}");

        let client = matrix.router.client(Front::H2c).await;
        let mut stream = expecting_h2(&client, back.service()).await;
        let interim = stream.interim().await.unwrap().expect("an interim head");
        assert_eq!(interim.status(), 100, "{back:?}");
        stream.data(Bytes::from("body")).await.unwrap();
        stream.finish().unwrap();
        let answer = stream.answer().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.interim.len()), (200, 0), "{back:?}: 100 once");
        assert_eq!(answer.json()["body_bytes"], 4, "{back:?}");
        // Where it is relayed the instance decides; an HTTP/1 instance is not asked.
        let expected = back.is_h2().then(|| "100-continue".to_owned());
        assert_eq!(answer.echoed_header("expect"), expected, "{back:?}");
    }
}

#[tokio::test]
async fn a_refusal_comes_before_100_and_so_before_the_body() {
    const SMALL: &str = "{ h1: { max_body: 3 }, h2c: { max_body: 3 } }";
    let matrix = Matrix::start(Config::new().set("services", SMALL), |_| Reply::echo()).await;
    for (service, status) in [("unknown", 503), ("h1", 413), ("h2c", 413)] {
        let mut socket = expecting_h1(&matrix.router, service).await;
        assert_eq!(socket.read_response().await.expect("an answer").status(), status, "{service}");
    }
    let client = matrix.router.client(Front::H2c).await;
    let stream = expecting_h2(&client, "unknown").await;
    let answer = stream.answer().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.interim.len()), (503, 0));
}

#[tokio::test]
async fn an_instance_that_refuses_is_heard_and_gets_no_body() {
    let matrix = Matrix::start(Config::new(), |_| Reply::unread().head(417)).await;
    for back in [Back::H2c, Back::H2Tls] {
        let mut socket = expecting_h1(&matrix.router, back.service()).await;
        assert_eq!(socket.read_response().await.expect("an answer").status(), 417, "{back:?}");
        let client = matrix.router.client(Front::H2c).await;
        let answer = expecting_h2(&client, back.service()).await.answer().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.interim.len()), (417, 0), "{back:?}");
        assert_eq!(matrix.instance(back).counts().bytes_read(), 0, "{back:?}");
    }
}

#[tokio::test]
async fn an_instance_that_does_not_know_of_100_gets_the_body_all_the_same() {
    let matrix = Matrix::start(Config::new(), |_| Reply::mirror()).await;
    let client = matrix.router.client(Front::H2c).await;
    // A mirror answers with its head at once, so that the router has nothing to wait for.
    let mut stream = expecting_h2(&client, "h2c").await;
    stream.data(Bytes::from("body")).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(stream.answer().await.unwrap().text(), "body");

    // Silence before the body: the router sends it after a while.
    let silent = Raw::start(|mut socket| async move {
        use testkit::frame::{self, Frame};
        frame::accept_preface(&mut socket).await;
        let head = frame::next(&mut socket, frame::HEADERS).await.expect("a request");
        frame::next(&mut socket, frame::DATA).await.expect("a body without 100");
        frame::send(&mut socket, &Frame::headers(head.stream, &[(":status", "204")], true)).await.unwrap();
        frame::next(&mut socket, frame::GOAWAY).await;
    })
    .await;
    let router = Config::new().service("silent", &[format!("h2c://{}", silent.addr())]).start();
    let mut socket = expecting_h1(&router, "silent").await;
    assert_eq!(socket.read_head().await.expect("an interim head").status(), 100);
    socket.send("body").await.unwrap();
    assert_eq!(socket.read_response().await.expect("an answer").status(), 204);
}

#[tokio::test]
async fn early_hints_reach_http_2_clients_and_harm_no_others() {
    let reply = || Reply::script().inform(103, &[("link", "</a.css>")]).inform(103, &[("link", "</b.js>")]).head(200);
    let instance = Instance::h2c().answer(move |_| reply().data("page")).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "pets")])).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "page"), "{front:?}");
        let hints: Vec<_> = answer.interim.iter().map(|(s, h)| (s.as_u16(), h["link"].to_str().unwrap())).collect();
        let expected: &[_] = if front.is_h2() { &[(103, "</a.css>"), (103, "</b.js>")] } else { &[] };
        assert_eq!(hints, expected, "{front:?}");
    }
}

#[tokio::test]
async fn interim_answers_nobody_asked_for_are_dropped() {
    let h2c = Instance::h2c().answer(|_| Reply::script().inform(100, &[]).inform(102, &[]).head(200)).start().await;
    let raw = Raw::sends(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let config = Config::new().service("h2c", &[h2c.url()]);
    let router = config.service("h1", &[format!("http://{}", raw.addr())]).start();
    for front in Front::ALL {
        for service in ["h2c", "h1"] {
            let answer = router.client(front).await.send(post("/", &[("service_id", service)], "body")).await;
            assert_eq!((answer.status.as_u16(), answer.interim.len()), (200, 0), "{front:?} to {service}");
        }
    }
}

#[tokio::test]
async fn a_switch_of_protocols_nobody_asked_for_is_refused() {
    let raw = Raw::sends("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let router = Config::new().service("h1", &[format!("http://{}", raw.addr())]).start();
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "h1")])).await;
        assert_eq!(told(&answer), (502, Some("protocol")), "{front:?}");
    }
}
