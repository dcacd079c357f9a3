//! Trailers, in both directions.

use http::HeaderMap;
use testkit::{Reply, Socket, get};

use super::head;
use crate::support::{Back, Config, Front, Matrix};

#[tokio::test]
async fn trailers_of_an_answer_reach_clients_that_take_them() {
    let reply = |_: &_| Reply::script().head(200).data("body").trailers(&[("x-sum", "42"), ("x-end", "1")]);
    let matrix = Matrix::start(Config::new(), reply).await;
    for (front, back) in Matrix::pairs() {
        let client = matrix.router.client(front).await;
        let fields = [("service_id", back.service()), ("te", "trailers")];
        let answer = client.send(get("/", &fields)).await;
        assert_eq!(answer.text(), "body", "{front:?} to {back:?}");
        assert_eq!(
            (answer.trailer("x-sum"), answer.trailer("x-end")),
            (Some("42"), Some("1")),
            "{front:?} to {back:?}"
        );
    }
}

#[tokio::test]
async fn an_http_1_client_that_does_not_ask_for_trailers_gets_a_whole_answer_without() {
    let reply = |_: &_| Reply::script().head(200).data("body").trailers(&[("x-sum", "42")]);
    let matrix = Matrix::start(Config::new(), reply).await;
    for back in Back::ALL {
        let answer = matrix.router.client(Front::H1).await.send(get("/", &[("service_id", back.service())])).await;
        assert_eq!((answer.text().as_str(), answer.trailers), ("body", None), "{back:?}");
    }
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_instance() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for back in Back::ALL {
        for front in [Front::H2c, Front::H2Tls] {
            let client = matrix.router.client(front).await;
            let mut request = head("POST", "/", back.service());
            request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            let mut stream = client.open(request, false).await.unwrap();
            stream.data("body".into()).await.unwrap();
            let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())]);
            stream.finish_with(sum).unwrap();
            assert_eq!(stream.answer().await.unwrap().status, 200);
        }
        let mut socket = Socket::connect(matrix.router.clear()).await;
        let service = back.service();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n";
        socket.send(format!("{head}service_id: {service}\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n")).await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
        let seen = matrix.instance(back).seen();
        assert_eq!(seen.len(), 3);
        for seen in seen {
            let trailers = seen.trailers.unwrap_or_else(|| panic!("no trailers at {back:?}"));
            assert_eq!(trailers["x-sum"], "42", "{back:?}");
        }
    }
}

#[tokio::test]
async fn trailers_carry_no_framing_routing_or_credentials() {
    let trailers = [("x-sum", "42"), ("content-length", "3"), ("set-cookie", "a=1"), ("x-forwarded-for", "6.6.6.6")];
    let matrix = Matrix::start(Config::new(), move |_| Reply::script().head(200).data("x").trailers(&trailers)).await;
    let answer = matrix.router.client(Front::H2c).await.send(get("/", &[("service_id", "h2c")])).await;
    let names: Vec<_> = answer.trailers.iter().flat_map(HeaderMap::keys).map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum"]);
}
