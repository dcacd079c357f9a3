//! Credentials and raw answers of one API server: the thin part, by the `kube` crate.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::{
    Client, Config,
    client::{AuthError, Body},
    config::KubeConfigOptions,
};
use model::ProviderError;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    connect,
    failure::{Failure, Status},
    settings::{ALL, Settings},
    slice::Rules,
};

/// Which slices one scope takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Namespace {
    /// The pod's own, or the context's.
    Own,
    Named(String),
    All,
}

impl Settings {
    /// One scope for each namespace, or one for all.
    pub(super) fn scopes(&self) -> Vec<Namespace> {
        match &*self.namespaces {
            [] => vec![Namespace::Own],
            [one] if one == ALL => vec![Namespace::All],
            names => names.iter().cloned().map(Namespace::Named).collect(),
        }
    }
}

/// An API server as our settings reach it, with the credentials as they were when it was made.
pub(super) struct Cluster {
    client: Client,
    /// `None`: all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) rules: Rules,
    /// The files of which it is made and that are replaced now and then.
    pub(super) files: Vec<Content>,
}

/// A file, and what stood in it.
#[derive(Clone)]
pub(super) struct Content {
    path: PathBuf,
    text: String,
}

/// The longest answer: a page of 500 slices with a thousand endpoints each is about this long.
const LONGEST: usize = 128 << 20;

impl Cluster {
    /// Reads the credentials. Blocks: an exec plugin is a program that is waited for.
    pub(super) fn new(settings: &Settings, namespace: &Namespace) -> Result<Self, ProviderError> {
        let mut config = match settings.kubeconfig().map_err(ProviderError::Failed)? {
            Some(file) => {
                let context = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
                let read = Handle::current().block_on(Config::from_custom_kubeconfig(file, &context));
                read.map_err(|e| ProviderError::Failed(format!("kubeconfig: {}", chain(&e))))?
            }
            None => Config::incluster_env().map_err(|e| {
                let told = chain(&e);
                ProviderError::Failed(format!(
                    "no service account of a pod ({told}): outside a cluster set `kubeconfig`"
                ))
            })?,
        };
        // The crate would read both now and then, on the thread that serves.
        let mut files = Vec::new();
        if let Some(file) = config.auth_info.token_file.take().filter(|_| config.auth_info.token.is_none()) {
            let token = Content::read(file.into())?;
            config.auth_info.token = Some(token.text.clone().into());
            files.push(token);
        }
        if let Some(file) = config.root_cert_file.take() {
            files.push(Content::read(file)?);
        }
        let own = config.default_namespace.trim().to_owned();
        let home = settings.namespaces.first().filter(|name| *name != ALL).cloned().unwrap_or_else(|| own.clone());
        let client = connect::client(&config)?;
        let namespace = match namespace {
            Namespace::Own => Some(own),
            Namespace::Named(name) => Some(name.clone()),
            Namespace::All => None,
        };
        Ok(Self { client, namespace, rules: Rules { home, service_label: settings.service_label.clone() }, files })
    }

    /// Asks; waits for the head of a good answer.
    pub(super) async fn open(&self, path: &str, deadline: Instant) -> Result<Answer, Failure> {
        let request = Request::get(path)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "pointsman")
            .body(Body::empty());
        let request = request.map_err(|e| Failure::malformed(format!("request {path:?}: {e}")))?;
        let response = timeout_at(deadline, self.client.send(request)).await.map_err(|_| late("it did not answer"))?;
        let (head, body) = response.map_err(|e| ProviderError::Unreachable(told(&e)))?.into_parts();
        let mut answer = Answer { body };
        if head.status == StatusCode::OK {
            return Ok(answer);
        }
        // Its words are welcome, but the status alone is an answer.
        let words = answer.whole(deadline).await.unwrap_or_default();
        let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        Err(Status::of_answer(head.status, retry_after, &words).failure())
    }
}

impl Content {
    /// Blocks.
    fn read(path: PathBuf) -> Result<Self, ProviderError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { text: text.trim().to_owned(), path }),
            Err(error) => Err(ProviderError::Failed(format!("{}: {error}", path.display()))),
        }
    }

    /// Whether something else stands in it now. Blocks.
    pub(super) fn is_replaced(&self) -> bool {
        Self::read(self.path.clone()).is_ok_and(|now| now.text != self.text)
    }
}

/// An answer that is under way. Dropping it closes its connection.
pub(super) struct Answer {
    body: Body,
}

impl Answer {
    /// The next part; `None` at a clean end.
    pub(super) async fn chunk(&mut self, deadline: Instant) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout_at(deadline, self.body.frame()).await;
            match frame.map_err(|_| late("its answer did not end in time"))? {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
                Some(Err(error)) => return Err(ProviderError::Unreachable(told(&error)).into()),
            }
        }
    }

    /// All of it.
    pub(super) async fn whole(&mut self, deadline: Instant) -> Result<Bytes, Failure> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk(deadline).await? {
            whole.extend_from_slice(&chunk);
            if whole.len() > LONGEST {
                return Err(Failure::malformed(format!("an answer of more than {LONGEST} bytes")));
            }
        }
        Ok(whole.freeze())
    }
}

fn late(what: &str) -> Failure {
    ProviderError::Unreachable(format!("the API server: {what}")).into()
}

/// What went wrong, with its causes, and without what a credential plugin printed: that may be a token.
pub(super) fn told(error: &kube::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            // Nor its arguments, which `cmd` has in it.
            Some(AuthError::AuthExecRun { out, .. }) => {
                return format!("the kubeconfig's credential plugin failed: {}", out.status);
            }
            Some(AuthError::AuthExecParse(_)) => {
                return "the kubeconfig's credential plugin printed no ExecCredential".to_owned();
            }
            _ => cause = error.source(),
        }
    }
    chain(error)
}

/// An error and its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !told.contains(&next) {
            told = format!("{told}: {next}");
        }
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a kubeconfig whose user is this.
    async fn refusal(user: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{{ name: c, cluster: {{ server: 'http://127.0.0.1:1' }} }}]\n\
             users: [{{ name: u, user: {{ {user} }} }}]\ncontexts: [{{ name: x, context: {{ cluster: c, user: u }} }}]\n"
        );
        std::fs::write(file.path(), text).unwrap();
        let settings = Settings { kubeconfig: Some(file.path().into()), ..Settings::default() };
        let made = tokio::task::spawn_blocking(move || {
            let _file = file;
            Cluster::new(&settings, &Namespace::Own).map(|_| ())
        });
        made.await.unwrap().unwrap_err().to_string()
    }

    #[tokio::test]
    async fn no_secret_is_told() {
        let plugin = |script: &str| {
            let arguments = format!("command: sh, args: [ '-c', '{script}' ], interactiveMode: Never");
            format!("exec: {{ apiVersion: client.authentication.k8s.io/v1, {arguments} }}")
        };
        for (user, part) in [
            (plugin("echo s3cret; exit 3"), "exit status: 3"),
            (plugin("echo token: [ s3cret"), "printed no ExecCredential"),
            ("token: [ s3cret ]".to_owned(), "no kubeconfig"),
            ("token: s3cret, token: s3cret".to_owned(), "no kubeconfig"),
        ] {
            let told = refusal(&user).await;
            assert!(told.contains(part) && !told.contains("s3cret"), "{user}: {told}");
        }
    }
}
