//! What the command line says.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use discovery::provider::{
    etcd,
    zookeeper::{Ensemble, LayoutKind},
};
use model::Tag;
use settings::{Entries, OneOrMany, Secret, SecretSource, Span};
use transport::client::TlsSettings;

use super::look::Looking;
use crate::announce::{Access, Etcd, Settings, To};

/// Names the variable that holds the token.
pub(super) const TOKEN: &str = "POINTSMAN_REGISTRY_TOKEN";

/// The arguments of `pointsman register`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The service's name.
    #[arg(long)]
    pub service: String,
    /// The port it listens on.
    #[arg(long)]
    pub port: u16,
    /// The registry's kind.
    #[arg(long, value_enum)]
    pub to: Kind,
    /// The registry's address; by default this machine, at the kind's usual port. etcd: of each member, ZooKeeper:
    /// host:port of each server, separated by commas.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A file with the token for the registry; ZooKeeper: with user:password.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// The token itself, best by the variable: arguments are seen by everybody on the machine.
    #[arg(long, env = TOKEN, hide_env_values = true)]
    pub token: Option<String>,
    /// PEM: authorities to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM: our certificate, if the registry wants one.
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// PEM: its key.
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// The name the registry's certificate must carry.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// etcd: the user.
    #[arg(long)]
    pub user: Option<String>,
    /// etcd: a file with the password.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// etcd, ZooKeeper: records stand under PREFIX/SERVICE/ID; /services without.
    #[arg(long)]
    pub prefix: Option<String>,
    /// ZooKeeper: whose records to write; those of light_4j stand under PREFIX/GROUP/SERVICE/server, PREFIX is /light.
    #[arg(long, value_enum, default_value = "curator")]
    pub layout: Layout,
    /// ZooKeeper: the group of light_4j's services; default without.
    #[arg(long)]
    pub group: Option<String>,
    /// ZooKeeper: connect by TLS.
    #[arg(long)]
    pub tls: bool,
    /// The address others reach the service by; else STATUS_HOST_IP, else the one the registry is reached from.
    #[arg(long)]
    pub address: Option<String>,
    /// Its name within the service; service-address-port without.
    #[arg(long)]
    pub id: Option<String>,
    /// What it speaks: http, h2c or https.
    #[arg(long)]
    pub protocol: Option<String>,
    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The environment it is in.
    #[arg(long)]
    pub environment: Option<String>,
    /// Its zone.
    #[arg(long)]
    pub zone: Option<String>,
    /// Its version.
    #[arg(long, value_name = "VERSION")]
    pub service_version: Option<String>,
    /// Its share of the traffic.
    #[arg(long, default_value_t = 1)]
    pub weight: u16,
    /// Whatever else shall be known; may be given several times.
    #[arg(long = "meta", value_name = "NAME=VALUE")]
    pub metadata: Vec<String>,
    /// How long the registry keeps it without a heartbeat.
    #[arg(long, default_value = "30s")]
    pub ttl: Span,
    /// The path that answers 2xx when it is ready; without, it is ready when it takes connections.
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// Where that is asked.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub health_address: String,
    /// From one look at a ready service to the next; after three that fail it leaves the registry.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub health_interval: Span,
    /// From the deregistration to the signal that ends it, for those who still know it.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub drain: Span,
    /// How long it may take to end then, before it is killed.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub stop_timeout: Span,
    /// The service to start; without, we run beside one that runs.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The kinds of registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The embedded registry of a router.
    Embedded,
    /// A Consul agent.
    Consul,
    /// An etcd cluster.
    Etcd,
    /// A ZooKeeper ensemble.
    Zookeeper,
}

/// Whose records ZooKeeper has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Curator's and Spring Cloud's.
    Curator,
    /// light-4j's.
    #[value(name = "light_4j")]
    Light4j,
}

impl Arguments {
    /// What to announce, and where.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let tag = |text: &String| Tag::new(text).map_err(|e| e.to_string());
        let pair = |text: &String| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) = pair.ok_or_else(|| format!("--meta {text:?} must be NAME=VALUE"))?;
            Ok::<_, String>((name.to_owned(), value.to_owned()))
        };
        Ok(Settings {
            address: self.address.clone(),
            port: Some(self.port),
            id: self.id.clone(),
            protocol: self.protocol.clone(),
            environment: self.environment.as_ref().map(tag).transpose()?,
            zone: self.zone.clone(),
            version: self.service_version.clone(),
            tags: OneOrMany(self.tags.iter().map(tag).collect::<Result<_, _>>()?),
            weight: self.weight,
            metadata: Entries::from_iter(self.metadata.iter().map(pair).collect::<Result<Vec<_>, _>>()?),
            ttl: self.ttl,
            ..Settings::new(&*self.service, self.to()?)
        })
    }

    fn to(&self) -> Result<To, String> {
        self.belong_together()?;
        let usual = match self.to {
            Kind::Embedded => "http://127.0.0.1:8400",
            Kind::Consul => "http://127.0.0.1:8500",
            Kind::Etcd => "http://127.0.0.1:2379",
            Kind::Zookeeper => "127.0.0.1:2181",
        };
        let url = self.url.clone().unwrap_or_else(|| usual.to_owned());
        let file = |path: &PathBuf| SecretSource::File(path.clone());
        let inline = self.token.clone().map(|token| SecretSource::Inline(Secret::from(token)));
        let token = self.token_file.as_ref().map(file).or(inline);
        let tls = TlsSettings {
            ca: self.ca.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            server_name: self.server_name.clone(),
        };
        Ok(match self.to {
            Kind::Embedded => To::Embedded(Access { url, token, tls }),
            Kind::Consul => To::Consul(Access { url, token, tls }),
            Kind::Etcd => {
                let (user, password) = (self.user.clone(), self.password_file.as_ref().map(file));
                let prefix = self.prefix.clone().unwrap_or_else(|| "/services".to_owned());
                let endpoints = OneOrMany(url.split(',').map(|url| url.trim().to_owned()).collect());
                To::Etcd(Etcd { endpoints, access: etcd::Access { user, password, tls }, prefix })
            }
            Kind::Zookeeper => To::Zookeeper(Ensemble {
                servers: url,
                layout: match self.layout {
                    Layout::Curator => LayoutKind::Curator,
                    Layout::Light4j => LayoutKind::Light4j,
                },
                path: self.prefix.clone(),
                group: self.group.clone(),
                auth: token,
                tls: self.tls,
                certificates: tls,
            }),
        })
    }

    /// An argument that would count for nothing is a mistake.
    fn belong_together(&self) -> Result<(), String> {
        let (etcd, zookeeper) = (self.to == Kind::Etcd, self.to == Kind::Zookeeper);
        for (given, counts, what) in [
            (self.user.is_some() || self.password_file.is_some(), etcd, "--user and --password-file are for etcd"),
            (self.token_file.is_some(), !etcd, "etcd takes --user and --password-file instead of --token-file"),
            (self.prefix.is_some(), etcd || zookeeper, "--prefix is for etcd and zookeeper"),
            (
                self.layout == Layout::Light4j || self.group.is_some(),
                zookeeper,
                "--layout and --group are for zookeeper",
            ),
            (self.tls, zookeeper, "--tls is for zookeeper; for others write https:// in --url"),
        ] {
            if given && !counts {
                return Err(what.to_owned());
            }
        }
        Ok(())
    }

    /// How to find out whether it is ready.
    pub(super) fn look(&self) -> Result<Looking, String> {
        let https = self.protocol.as_deref().and_then(model::Protocol::parse) == Some(model::Protocol::Https);
        let every = self.health_interval.get();
        Looking::new(&self.health_address, self.port, self.health.as_deref(), https, every)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(line: &str) -> Result<Settings, String> {
        let words = std::iter::once("x").chain(line.split(' '));
        Line::try_parse_from(words).map_err(|e| e.to_string())?.arguments.settings()
    }

    #[test]
    fn arguments_become_settings() {
        let least = read("--service pets --port 80 --to consul").unwrap();
        assert_eq!((least.to.url(), least.check()), ("http://127.0.0.1:8500", Ok(())));
        let full = read(
            "--service pets --port 80 --to etcd --url http://a:1,http://b:1 --user u --password-file f --prefix /p --tag x --tag y \
             --meta a=b=c --weight 3 --ttl 1m --environment test -- sleep 1",
        );
        let full = full.unwrap();
        assert_eq!((full.tags.0.len(), full.weight, full.metadata.get("a").unwrap().as_str()), (2, 3, "b=c"));
        let To::Etcd(Etcd { prefix, endpoints, .. }) = full.to else { panic!("another kind") };
        assert_eq!(
            (prefix.as_str(), &endpoints.0[..]),
            ("/p", &["http://a:1".to_owned(), "http://b:1".to_owned()][..])
        );
        let ensemble = read("--service pets --port 80 --to zookeeper --layout light_4j --group g --tls --url a,b");
        let To::Zookeeper(ensemble) = ensemble.unwrap().to else { panic!("another kind") };
        assert_eq!((ensemble.layout, ensemble.group.as_deref(), ensemble.tls), (LayoutKind::Light4j, Some("g"), true));
        assert_eq!(read("--service pets --port 80 --to zookeeper").unwrap().to.url(), "127.0.0.1:2181");
    }

    #[test]
    fn mistakes_are_told() {
        for (line, part) in [
            ("--service pets --port 80 --to zookeeper --user a", "for etcd"),
            ("--service pets --port 80 --to etcd --token-file a", "--password-file"),
            ("--service pets --port 80 --to consul --prefix /a", "for etcd and zookeeper"),
            ("--service pets --port 80 --to consul --layout light_4j", "for zookeeper"),
            ("--service pets --port 80 --to consul --tls", "https://"),
            ("--service pets --port 80 --to eureka", "possible values"),
            ("--service pets --port 80 --to consul --meta a", "NAME=VALUE"),
            ("--service pets --port 80 --to consul --tag a|b", "tag"),
            ("--service pets --to consul", "--port"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
