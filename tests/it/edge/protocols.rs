//! What clients may speak.

use testkit::{Reply, get};

use crate::support::{Back, Config, Front, Matrix};

#[tokio::test]
async fn every_protocol_in_front_meets_every_protocol_behind() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for front in Front::ALL {
        let client = matrix.router.client(front).await;
        assert_eq!(client.is_h2(), front.is_h2(), "{front:?}");
        for back in Back::ALL {
            let answer = client.send(get("/x?y=1", &[("service_id", back.service())])).await;
            assert_eq!(answer.status, 200, "{front:?} to {back:?}: {}", answer.text());
            let seen = answer.json();
            assert_eq!((&seen["path"], &seen["query"]), (&"/x".into(), &"y=1".into()), "{front:?} to {back:?}");
            assert_eq!(seen["version"], if back.is_h2() { "h2" } else { "h1" }, "{front:?} to {back:?}");
        }
    }
}
