//! Faults put in on purpose, to see that the laws find them.

/// A router that does one thing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Nothing is wrong.
    None,
    /// A core reads its table only every five seconds.
    StaleTable,
    /// One attempt in 500 is never settled.
    LostLease,
    /// Whether an instance is out is not asked.
    Blind,
    /// The first instance gets everything.
    Hoarding,
    /// What was not sent is not sent elsewhere.
    NoRetry,
    /// Everything a registry withdraws stays as first choice.
    Hearsay,
    /// Retries cost nothing.
    Spendthrift,
    /// Whose turn it is to knock, it lets another core knock as well.
    Crowd,
    /// Who is to knock sends its request.
    OpenDoor,
    /// That somebody could connect is told to nobody.
    Deaf,
}

impl Sabotage {
    /// All that do something wrong.
    pub(crate) const ALL: [Self; 10] = [
        Self::StaleTable,
        Self::LostLease,
        Self::Blind,
        Self::Hoarding,
        Self::NoRetry,
        Self::Hearsay,
        Self::Spendthrift,
        Self::Crowd,
        Self::OpenDoor,
        Self::Deaf,
    ];

    /// The words of the law it breaks.
    pub(crate) fn breaks(self) -> &'static str {
        match self {
            Self::None => "",
            Self::StaleTable => "was removed",
            Self::LostLease => "in flight",
            Self::Blind => "is out",
            Self::Hoarding => "starves",
            Self::NoRetry => "router-made",
            Self::Hearsay => "withdrawn",
            Self::Spendthrift => "over the budget",
            Self::Crowd => "knocked at twice",
            Self::OpenDoor => "nobody found it well",
            Self::Deaf => "nobody found out",
        }
    }
}
