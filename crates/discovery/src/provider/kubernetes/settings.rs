//! What an operator writes about a Kubernetes cluster.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use kube::config::{Kubeconfig, KubeconfigError};
use settings::Span;

use super::ports::PortChoice;

/// One cluster: `kubernetes: {}` in a pod, `kubernetes: { kubeconfig: FILE }` elsewhere.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A kubeconfig file. Absent: the service account of the pod. Read at each (re)connect; token files it names, and
    /// the pod's token, once a minute; exec plugins run when their token runs out.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; its current one if absent.
    pub context: Option<String>,
    /// The namespaces to look at; `["*"]` is all of them. Absent: the pod's own, or the context's. In the first one (with
    /// `"*"`: the pod's or the context's) a service is called `NAME`, in every other one `NAME.NAMESPACE`.
    pub namespaces: Vec<String>,
    /// Only slices with these labels, in Kubernetes' notation (`team=a,tier in (web,api)`).
    pub selector: Option<String>,
    /// Which port of a service takes requests, by name or number. Absent: its only one, else the one whose name or
    /// application protocol is one we speak. The label or annotation `pointsman/port` of a service has precedence.
    pub port: Option<PortChoice>,
    /// A label whose value is the service id (`com.networknt.petstore-1.0.0`) instead of the service's name. Whoever may
    /// write services in these namespaces can then take any id, hence off without it.
    pub service_label: Option<String>,
    /// How long one watch lasts, 5s to 10m. A watch that died quietly is noticed ten seconds after this.
    pub wait: Span,
}

/// Shorter, a watch could end before the server gives its last sign of life.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
/// Longer, a dead watch is noticed too late.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// All namespaces.
pub(super) const ALL: &str = "*";

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespaces: Vec::new(),
            selector: None,
            port: None,
            service_label: None,
            wait: Span::from_secs(60),
        }
    }
}

impl Settings {
    /// Whether these settings can work, as far as files and grammar tell.
    pub(super) fn check(&self) -> Result<(), String> {
        let wait = self.wait.get();
        if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait) {
            return Err(format!("wait: {} is not between 5s and 10m", self.wait));
        }
        self.check_namespaces()?;
        if self.selector.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err("selector: is empty; leave it out to take all slices".into());
        }
        if let Some(label) = &self.service_label
            && !is_label(label)
        {
            return Err(format!("service_label: {label:?} is no label name; write PREFIX/NAME or NAME"));
        }
        match (&self.kubeconfig, &self.context) {
            (None, Some(_)) => Err("context: needs `kubeconfig`; in a pod there is one cluster and no context".into()),
            (None, None) => Ok(()),
            (Some(_), _) => self.kubeconfig().map(drop),
        }
    }

    fn check_namespaces(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for name in &self.namespaces {
            if name == ALL && self.namespaces.len() > 1 {
                return Err("namespaces: \"*\" is all of them; leave out the others".into());
            }
            if name != ALL && !is_dns_label(name) {
                let rule = "lowercase letters, digits and hyphens, at most 63";
                return Err(format!("namespaces: {name:?} is no namespace; its name has {rule}"));
            }
            if !seen.insert(name) {
                return Err(format!("namespaces: {name:?} stands there twice"));
            }
        }
        Ok(())
    }

    /// Reads the kubeconfig file, and finds the context in it.
    pub(super) fn kubeconfig(&self) -> Result<Option<Kubeconfig>, String> {
        let Some(path) = &self.kubeconfig else { return Ok(None) };
        // What is wrong with its YAML would be shown with the lines around it, which hold secrets.
        let file = Kubeconfig::read_from(path).map_err(|e| match e {
            KubeconfigError::Parse(_) => format!("kubeconfig: {} is no kubeconfig file, or broken", path.display()),
            e => format!("kubeconfig: {e}"),
        })?;
        let Some(wanted) = self.context.as_ref().or(file.current_context.as_ref()) else {
            return Err(format!("kubeconfig: {} has no current context; name one by `context`", path.display()));
        };
        if !file.contexts.iter().any(|context| context.name == *wanted) {
            let names: Vec<_> = file.contexts.iter().map(|context| context.name.as_str()).collect();
            return Err(format!("context: {} has no {wanted:?}, it has {}", path.display(), names.join(", ")));
        }
        Ok(Some(file))
    }
}

/// RFC 1123: what namespaces, services and ports are called.
pub(super) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_label(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefixed = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label));
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    prefixed && (1..=63).contains(&name.len()) && name.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_required_and_unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<Settings>(text);
        assert_eq!(read("{}").unwrap(), Settings::default());
        assert_eq!(Settings::default().check(), Ok(()));
        assert!(read(r#"{"namespace":"a"}"#).unwrap_err().to_string().contains("namespace"));
    }

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        let text = "kubeconfig: k.yml\ncontext: prod\nnamespaces: [shop, billing]\nselector: 'team=a'\nport: web\n\
                    service_label: app.kubernetes.io/name\nwait: 2m\n";
        let read: Settings = ::settings::parse(text, std::path::Path::new("x.yml"), &|_| None).unwrap();
        let expected = Settings {
            kubeconfig: Some("k.yml".into()),
            context: Some("prod".into()),
            namespaces: vec!["shop".into(), "billing".into()],
            selector: Some("team=a".into()),
            port: Some(PortChoice::Name("web".into())),
            service_label: Some("app.kubernetes.io/name".into()),
            wait: Span::from_secs(120),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |settings: Settings, part: &str| {
            let error = settings.check().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        let with =
            |names: &[&str]| Settings { namespaces: names.iter().map(|&n| n.into()).collect(), ..Settings::default() };
        assert_eq!(with(&["*"]).check(), Ok(()));
        check(with(&["*", "a"]), "leave out the others");
        check(with(&["a", "a"]), "twice");
        check(with(&["a/b"]), "no namespace");
        check(Settings { wait: Span::from_secs(1), ..Settings::default() }, "between 5s and 10m");
        check(Settings { selector: Some(" ".into()), ..Settings::default() }, "selector");
        check(Settings { service_label: Some("a b".into()), ..Settings::default() }, "no label name");
        check(Settings { context: Some("a".into()), ..Settings::default() }, "needs `kubeconfig`");
        check(Settings { kubeconfig: Some("no/such".into()), ..Settings::default() }, "no/such");
    }

    #[test]
    fn a_context_must_be_in_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let contexts = "contexts: [{ name: here, context: { cluster: c, user: u } }]\n";
        std::fs::write(file.path(), format!("apiVersion: v1\nkind: Config\n{contexts}")).unwrap();
        let with = |context: Option<&str>| Settings {
            kubeconfig: Some(file.path().into()),
            context: context.map(Into::into),
            ..Settings::default()
        };
        assert_eq!(with(Some("here")).check(), Ok(()));
        assert!(with(Some("there")).check().unwrap_err().contains("it has here"));
        assert!(with(None).check().unwrap_err().contains("no current context"));
    }
}
