//! etcd, by the JSON gateway of its third version: a key that lives as long as its lease.
//!
//! The key is `PREFIX/SERVICE/ID`, the value the registration as the embedded registry takes it.

use ::settings::{Secret, SecretSource};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use transport::client::ClientSettings;

use super::{
    Failure, Record, Registrar,
    access::{Way, judge},
    embedded::registration,
    settings,
};

/// A cluster, by one of its members.
#[derive(Debug)]
pub(super) struct Etcd {
    settings: settings::Etcd,
    /// The members; the first one is asked.
    members: Vec<ClientSettings>,
    /// To that one.
    way: Way,
    /// Of the present registration.
    lease: Option<String>,
}

impl Etcd {
    pub(super) fn new(members: Vec<ClientSettings>, settings: settings::Etcd) -> Self {
        let first = members.first().cloned().unwrap_or_else(|| ClientSettings::new(""));
        Self { settings, members, way: Way::new(first, header::AUTHORIZATION, None), lease: None }
    }

    /// Asks a member. If that one is in trouble, the next question is for the next one.
    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let answer = self.ask(path, body).await;
        if let Err(Failure::Away(_)) = answer
            && self.members.len() > 1
        {
            self.members.rotate_left(1);
            self.way = self.way.to(self.members[0].clone());
        }
        answer
    }

    async fn ask(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let answer = self.way.call(Method::POST, path, body).await?;
        let said = String::from_utf8_lossy(&answer.body);
        if said.contains("requested lease not found") {
            return Err(Failure::Forgotten);
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(Failure::Forgotten); // a token that is over: registering logs in anew
        }
        judge(&answer, path)?;
        serde_json::from_slice(&answer.body).map_err(|e| Failure::Away(format!("{path}: unreadable answer: {e}")))
    }

    /// Shows user and password, if there are any; the token it gets is shown from then on.
    async fn log_in(&mut self) -> Result<(), Failure> {
        let access = self.settings.access.clone();
        let (Some(user), Some(password)) = (access.user, access.password) else {
            self.way.renew();
            return Ok(());
        };
        self.way = self.way.with(None);
        let password = self.way.secret(&password).await?;
        let answer = self.post("/v3/auth/authenticate", &json!({ "name": user, "password": password.expose() })).await;
        let answer = answer.map_err(|error| match error {
            Failure::Forgotten => Failure::Refused("etcd does not take user and password".to_owned()),
            error => error,
        })?;
        let token = answer["token"].as_str().ok_or_else(|| Failure::Away("etcd gave no token".to_owned()))?;
        let token = SecretSource::Inline(Secret::from(token.to_owned()));
        self.way = self.way.with(Some(token));
        Ok(())
    }

    /// Ends the lease, and the key with it.
    async fn revoke(&mut self) -> Result<(), Failure> {
        let Some(lease) = &self.lease else { return Ok(()) };
        match self.post("/v3/lease/revoke", &json!({ "ID": lease })).await {
            Ok(_) | Err(Failure::Forgotten) => {
                self.lease = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn key(&self, record: &Record) -> String {
        STANDARD.encode(format!("{}/{}/{}", self.settings.prefix, record.service, record.id))
    }
}

impl Registrar for Etcd {
    async fn register(&mut self, record: &Record) -> Result<(), Failure> {
        self.log_in().await?;
        // In whole seconds, and not less than was promised.
        let seconds = record.ttl.as_millis().div_ceil(1000);
        let granted = self.post("/v3/lease/grant", &json!({ "TTL": seconds.to_string() })).await?;
        let lease = granted["ID"].as_str().ok_or_else(|| Failure::Away("etcd gave no lease".to_owned()))?.to_owned();
        let value = STANDARD.encode(registration(record).to_string());
        let put = json!({ "key": self.key(record), "value": value, "lease": lease });
        // Before the key is there, so that it can be taken out whatever comes of the answer.
        self.lease = Some(lease);
        if let Err(failure) = self.post("/v3/kv/put", &put).await {
            // It may have been written all the same; if this fails too, the lease ends by itself.
            drop(self.revoke().await);
            return Err(failure);
        }
        Ok(())
    }

    async fn beat(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(lease) = self.lease.clone() else { return Err(Failure::Forgotten) };
        let kept = self.post("/v3/lease/keepalive", &json!({ "ID": lease })).await?;
        // A lease that is over is answered without the time it has left.
        if kept["result"]["TTL"].is_null() {
            return Err(Failure::Forgotten);
        }
        // Somebody may have deleted the key, or written another under it that is not of our lease.
        let found = self.post("/v3/kv/range", &json!({ "key": self.key(record), "keys_only": true })).await?;
        if found["kvs"][0]["lease"].as_str() == Some(&lease) { Ok(()) } else { Err(Failure::Forgotten) }
    }

    async fn deregister(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(lease) = &self.lease else { return Ok(()) };
        // The key if it is of our lease, and no other.
        let key = self.key(record);
        let delete = json!({
            "compare": [{ "key": key, "target": "LEASE", "result": "EQUAL", "lease": lease }],
            "success": [{ "requestDeleteRange": { "key": key } }],
        });
        let mut done = self.post("/v3/kv/txn", &delete).await;
        if done == Err(Failure::Forgotten) {
            self.log_in().await?;
            done = self.post("/v3/kv/txn", &delete).await;
        }
        if done?["succeeded"] != true {
            return self.revoke().await;
        }
        // The lease ends by itself: that it outlives its key tells those who watch that somebody left on purpose.
        self.lease = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
