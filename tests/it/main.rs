//! Integration tests: real sockets, real TLS, real registries. One binary.

#[cfg(test)]
mod consul;
#[cfg(test)]
mod dev_certs;
#[cfg(test)]
mod discover;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
