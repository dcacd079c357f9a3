//! Integration tests: real sockets, real TLS, real registries. One binary.
#![allow(clippy::large_futures, reason = "a test's future is made once and polled on a stack of its own")]

#[cfg(test)]
mod consul;
#[cfg(test)]
mod dev_certs;
#[cfg(test)]
mod discover;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod eject;
#[cfg(test)]
mod etcd;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod grpc_client;
#[cfg(test)]
mod health;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod operate;
#[cfg(test)]
mod register;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod resilience;
#[cfg(test)]
mod source;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod zookeeper;
