//! Integration tests: real sockets, real TLS, real registries. One binary.

#[cfg(test)]
mod consul;
