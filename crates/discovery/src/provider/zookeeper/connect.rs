//! From the settings to a session: servers one after the other, until one takes us.

use std::time::Duration;

use ::settings::{Aside, Secret};
use model::ProviderError;
use tokio::time::Instant;
use transport::{
    client::{ClientError, Duplex, Wire},
    clock::tick,
};

use super::{resume::Resume, session::Session, settings::Settings};
use crate::provider::aside;

/// For one server to be found, connected to and to answer our greeting.
const CONNECT: Duration = Duration::from_secs(3);

/// A session over whatever the wire is.
pub(super) type Open = Session<Box<dyn Duplex>>;

/// Reads certificates and secrets, which may be new, and tries each server once, beginning with any. The error is that of
/// the last one.
pub(super) async fn open(settings: &Settings, aside: &Aside, resume: &mut Resume) -> Result<Open, ProviderError> {
    let own = settings.clone();
    let wires = aside::read(aside, "certificates", move || own.wires()).await?.map_err(ProviderError::Failed)?;
    let credentials = match &settings.ensemble.auth {
        Some(source) => aside::secret(aside, source).await?.map_err(ProviderError::Denied)?,
        None => Secret::default(),
    };
    resume.expire(tick());
    let first = fastrand::usize(..wires.len().max(1));
    let mut last = ProviderError::Unreachable("any server: none is named".to_owned());
    for wire in wires.iter().cycle().skip(first).take(wires.len()) {
        let (had, mut greeted) = (resume.id, greet(wire, settings, resume).await);
        // A server that knows no such session any more gives us a new one.
        if greeted.is_err() && had != resume.id {
            greeted = greet(wire, settings, resume).await;
        }
        match greeted {
            Ok(mut session) => {
                tracing::info!(server = wire.address(), "zookeeper answers");
                if !credentials.is_empty() {
                    session.authenticate(credentials.expose().as_bytes());
                }
                return Ok(session);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn greet(wire: &Wire, settings: &Settings, resume: &mut Resume) -> Result<Open, ProviderError> {
    let deadline = Instant::now() + CONNECT;
    let stream = wire.connect(deadline).await.map_err(|error| match error {
        ClientError::Settings(why) => ProviderError::Failed(why),
        ClientError::Refused { .. } => ProviderError::Denied(error.to_string()),
        error => ProviderError::Unreachable(error.to_string()),
    })?;
    Session::open(stream, wire.address(), resume, settings.session_timeout.get(), deadline).await
}
