//! Where a message ends: said to HTTP/1.1 instances whatever the client said, and to clients as one number or not at all.

use testkit::{Instance, Raw, Socket, get};

use super::head;
use crate::support::{Config, Front, Running};

/// An instance of HTTP/1.1 with this answer, as the service `raw`.
async fn answering(answer: &str) -> (Running, Raw) {
    let raw = Raw::sends(answer.to_owned()).await;
    (Config::new().service("raw", &[format!("http://{}", raw.addr())]).start(), raw)
}

#[tokio::test]
async fn a_body_without_a_length_reaches_an_http_1_instance_whatever_the_method() {
    let instance = Instance::http().start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    let client = router.client(Front::H2c).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let mut socket = Socket::connect(router.clear()).await;
        let request = format!(
            "{method} /h1 HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n"
        );
        socket.send(request).await.unwrap();
        assert_eq!(socket.read_head().await.expect("a head").status(), 200, "{method}");

        let mut stream = client.open(head(method, "/h2", "pets"), false).await.unwrap();
        stream.data("hello".into()).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(stream.answer().await.unwrap().status, 200, "{method}");
        router.settled("pets").await;
        for seen in &instance.seen()[instance.seen().len() - 2..] {
            let said = (seen.header("transfer-encoding"), seen.header("content-length"));
            assert_eq!((seen.method.as_str(), seen.body_bytes, said), (method, 5, (Some("chunked"), None)), "{seen:?}");
        }
    }
    assert_eq!(instance.counts().connections(), 1, "each left its connection to the next");
}

#[tokio::test]
async fn a_request_without_the_body_its_method_is_for_says_so() {
    let instance = Instance::http().start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    for (method, length) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("GET", None), ("DELETE", None)]
    {
        let client = router.client(Front::H2c).await;
        let answer = client.open(head(method, "/", "pets"), true).await.unwrap().answer().await.unwrap();
        assert_eq!(answer.echoed_header("content-length").as_deref(), length, "{method}");
        let mut socket = Socket::connect(router.clear()).await;
        socket.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n")).await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
        assert_eq!(instance.seen().pop().unwrap().header("content-length"), length, "{method}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_by_its_status_has_no_length_either() {
    // What a 304 says is of the body that it spares, and is for the client; hyper leaves it out.
    for (status, length) in [("204 No Content", None), ("304 Not Modified", Some("5"))] {
        let (router, _raw) = answering(&format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n")).await;
        for front in Front::ALL {
            let answer = router.client(front).await.send(get("/", &[("service_id", "raw")])).await;
            let said = answer.header("content-length");
            assert_eq!(answer.status.as_u16().to_string(), status[..3], "{front:?}");
            assert_eq!(said, length.filter(|_| front.is_h2()), "{front:?} {status}");
        }
        router.settled("raw").await;
    }
}

#[tokio::test]
async fn lengths_that_agree_reach_the_client_as_one() {
    for lengths in ["5, 5", "5\r\nContent-Length: 5", "5,5\r\nContent-Length: 5"] {
        let (router, _raw) = answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\nhello")).await;
        for front in Front::ALL {
            let answer = router.client(front).await.send(get("/", &[("service_id", "raw")])).await;
            let all: Vec<_> = answer.headers.get_all("content-length").iter().map(|n| n.to_str().unwrap()).collect();
            assert_eq!((all, &*answer.text()), (vec!["5"], "hello"), "{front:?} {lengths:?}");
        }
    }
}
