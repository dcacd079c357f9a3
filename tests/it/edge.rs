//! How clients reach the router: protocols, TLS, deadlines, limits; which service a request is for; what is refused.

mod protocols;
