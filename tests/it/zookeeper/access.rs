//! Who may read: digest credentials, and TLS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use discovery::provider::zookeeper::Ensemble;
use model::{Knowledge, ProviderError, Update};
use serde_json::json;
use settings::SecretSource;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use transport::client::TlsSettings;

use super::{
    below,
    rig::{Writer, environment, record, source},
};
use crate::{
    registry::{inline, unique},
    source::{Source, named},
};

/// The next error about the source as a whole.
async fn unreachable(source: &mut Source) -> ProviderError {
    source
        .until("an error", |update| match update {
            Update::Unreachable(error) => Some(error),
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("an error was read as an empty list"),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn without_the_right_credentials_nothing_is_known_rather_than_empty() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("pets"));
    let mut writer = Writer::with_auth(&servers, "owner:secret");
    writer.create_private(&format!("{base}/{name}"), "");
    writer.create(&format!("{base}/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    for auth in [None, inline(""), inline("owner:wrong"), inline("other:secret")] {
        let mut source = source(Ensemble { auth, ..below(&servers, &base) }, named(&[&name]));
        let told = source.denied(&name).await;
        assert!(told.contains("`auth`") && told.contains(&name), "{told}");
    }
    let mut entitled = source(Ensemble { auth: inline("owner:secret"), ..below(&servers, &base) }, named(&[&name]));
    entitled.known(&name, 1).await;
}

#[tokio::test]
async fn a_right_that_is_given_later_is_noticed() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("pets"));
    let mut writer = Writer::with_auth(&servers, "owner:secret");
    writer.create_private(&format!("{base}/{name}"), "");
    writer.create_private(&format!("{base}/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    writer.create(&format!("{base}/{name}/2"), &record("10.0.0.2", 80, &json!({})));
    let mut source = source(below(&servers, &base), named(&[&name]));
    source.denied(&name).await;
    writer.open(&format!("{base}/{name}"));
    // The other instance is named as one that we may not read.
    source
        .until("a skipped node", |u| matches!(u, Update::Skipped { reason, .. } if reason.contains("/1")).then_some(()))
        .await;
    source.known(&name, 1).await;
    writer.open(&format!("{base}/{name}/1"));
    source.known(&name, 2).await;
}

#[tokio::test]
async fn a_credentials_file_is_read_for_each_connection() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("pets"));
    let mut writer = Writer::with_auth(&servers, "owner:secret");
    writer.create_private(&format!("{base}/{name}"), "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth");
    let auth = Some(SecretSource::File(file.clone()));
    let mut source = source(Ensemble { auth, ..below(&servers, &base) }, named(&[&name]));
    let error = unreachable(&mut source).await;
    assert!(matches!(&error, ProviderError::Denied(text) if text.contains("auth")), "{error}");
    std::fs::write(&file, "owner:secret\n").unwrap();
    source.empty(&name).await;
}

fn secure() -> Option<Ensemble> {
    let servers = environment("ZOOKEEPER_TLS")?;
    let ca = std::env::var("ZOOKEEPER_CA").unwrap().into();
    let certificates = TlsSettings { ca: Some(ca), ..TlsSettings::default() };
    Some(Ensemble { tls: true, certificates, ..Ensemble::new(servers) })
}

#[tokio::test]
async fn over_tls_the_authority_decides_and_a_certificate_is_an_identity() {
    let Some(ensemble) = secure() else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("pets"));
    let mut writer = Writer::new(&environment("ZOOKEEPER").unwrap());
    writer.register(&format!("{base}/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    let ensemble = Ensemble { path: Some(base), ..ensemble };
    let (certificate, key) = ("ZOOKEEPER_CLIENT_CERT", "ZOOKEEPER_CLIENT_KEY");
    let file = |variable| Some(std::env::var(variable).unwrap().into());
    for (client_certificate, client_key) in [(None, None), (file(certificate), file(key))] {
        let certificates = TlsSettings { client_certificate, client_key, ..ensemble.certificates.clone() };
        let ensemble = Ensemble { certificates, ..ensemble.clone() };
        source(ensemble, named(&[&name])).known(&name, 1).await;
    }

    // The system's authorities know nothing of this server's.
    let mut stranger = source(Ensemble { certificates: TlsSettings::default(), ..ensemble.clone() }, named(&[&name]));
    let error = unreachable(&mut stranger).await;
    assert!(error.to_string().contains("`ca`"), "{error}");
    let server_name = Some("other.internal".into());
    let certificates = TlsSettings { server_name, ..ensemble.certificates.clone() };
    let mut misnamed = source(Ensemble { certificates, ..ensemble }, named(&[&name]));
    let error = unreachable(&mut misnamed).await;
    assert!(error.to_string().contains("`server_name`"), "{error}");
}

#[tokio::test]
async fn tls_and_clear_text_do_not_meet_and_say_so() {
    let Some(ensemble) = secure() else { return };
    let clear = environment("ZOOKEEPER").unwrap();
    let mut to_clear = source(Ensemble { servers: clear, ..ensemble.clone() }, named(&["pets"]));
    let error = unreachable(&mut to_clear).await;
    assert_eq!(error.reason(), "unreachable", "{error}");
    let mut to_tls = source(Ensemble::new(&*ensemble.servers), named(&["pets"]));
    unreachable(&mut to_tls).await;
}

/// Says this to everybody and hangs up; how many came.
async fn parrot(words: &'static [u8]) -> (String, Arc<AtomicU32>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (came, mut tasks) = (Arc::<AtomicU32>::default(), JoinSet::new());
    let count = Arc::clone(&came);
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(words).await.unwrap();
            // What was asked is read, so that the end is an orderly one.
            drop(stream.read(&mut [0; 1024]).await);
        }
    });
    (address, came, tasks)
}

#[tokio::test]
async fn what_is_no_zookeeper_is_an_error() {
    let (address, _, _tasks) = parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut source = source(Ensemble::new(address), named(&["pets"]));
    let error = unreachable(&mut source).await;
    assert_eq!(error.reason(), "malformed", "{error}");
}

#[tokio::test]
async fn a_server_that_takes_us_in_and_hangs_up_is_not_pestered() {
    // A session of 10 s, without a password.
    let (address, came, _tasks) = parrot(b"\0\0\0\x14\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\0\x01\0\0\0\0").await;
    let _source = source(Ensemble::new(address), named(&["pets"]));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let came = came.load(Ordering::SeqCst);
    assert!((2..8).contains(&came), "{came} connections in three seconds");
}
