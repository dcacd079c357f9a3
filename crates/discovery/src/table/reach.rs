//! What requests of one environment find of a member: why one is sent some, and another none. For people who ask; a
//! request asks [`Service::pick`](super::Service::pick), which chooses by the same views.

/// Whether such requests go to a member now, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// They do.
    Chosen,
    /// It takes no requests now: what we learned of it, or a check, or an operator keeps it out.
    Out,
    /// It has weight 0.
    Weightless,
    /// It is in a group that takes over when those before it cannot.
    StandsBy,
    /// It was withdrawn under suspicion: for when nobody else takes requests.
    Suspect,
    /// It is to leave: for when nobody else is there.
    Draining,
    /// It is not in their environment.
    Elsewhere,
}
