//! How clients reach the router: protocols, TLS, deadlines, limits; which service a request is for; what becomes of
//! its head; what is refused.

mod claims;
mod deadlines;
mod errors;
mod headers;
mod hostile;
mod limits;
mod names;
mod paths;
mod protocols;
mod tls;
mod unreadable;
