//! Talks: everything that moves bytes to and from clients, instances and registries.
//!
//! The data path, from the outside in:
//! * [`tls`]: certificates of listeners, trust towards instances.
//! * [`io`]: byte streams, with writes coalesced to one per wake-up and HTTP/1 deadlines.
//! * [`body`], [`upload`], [`relay`]: bodies on their way through; [`pump`] moves one into an HTTP/2 stream, [`timer`]
//!   holds an exchange's limits.
//! * [`upstream`]: one instance, shared by all cores; [`lease`]: the right to use it once.
//! * [`pool`]: the connections of one core ([`h1`], [`h2`]), opened by [`dial`], watched for silence by `ping`;
//!   [`farewell`] ends long streams at an instance that is to leave, or when they are old.
//!
//! Beside it, [`client`]: a small HTTP client for control planes; [`look`]: one exchange with an instance, to see how it
//! does. [`crowd`] counts connections by who made them, [`clock`] makes ticks,
//! [`keepalive`] finds peers that vanished.
//!
//! The data path is single-threaded by design: what is `!Send` here never leaves its core.

pub mod body;
pub mod client;
pub mod clock;
pub mod crowd;
pub mod dial;
pub mod farewell;
pub mod h1;
pub mod h2;
pub mod io;
pub mod keepalive;
pub mod lease;
pub mod look;
mod ping;
pub mod pool;
pub mod pump;
pub mod relay;
pub mod timer;
pub mod tls;
pub mod upload;
pub mod upstream;

pub use body::{Body, BodyError};
pub use lease::{Lease, Suspect};
pub use tls::ClientTls;
pub use upstream::{Learned, Upstream};
