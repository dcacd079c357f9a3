//! What clients may speak.

use testkit::get;

use crate::support::{Back, Config, Front};

/// Every way to talk to the router, with every way the router talks to instances.
#[tokio::test]
async fn every_protocol_in_front_meets_every_protocol_behind() {
    let config = Config::new();
    let mut instances = Vec::new();
    for back in Back::ALL {
        instances.push(back.instance(config.certs()).start().await);
    }
    let config = Back::ALL.iter().zip(&instances).fold(config, |config, (back, instance)| {
        config.service(&format!("{back:?}").to_lowercase(), &[instance.url()])
    });
    let router = config.start();
    for front in Front::ALL {
        let client = router.client(front).await;
        assert_eq!(client.is_h2(), front.is_h2(), "{front:?}");
        for back in Back::ALL {
            let service = format!("{back:?}").to_lowercase();
            let answer = client.send(get("/x?y=1", &[("service_id", &service)])).await;
            assert_eq!(answer.status, 200, "{front:?} to {back:?}: {}", answer.text());
            let seen = answer.json();
            assert_eq!((&seen["path"], &seen["query"]), (&"/x".into(), &"y=1".into()), "{front:?} to {back:?}");
            assert_eq!(seen["version"], if back.is_h2() { "h2" } else { "h1" }, "{front:?} to {back:?}");
        }
    }
}
