//! All that is wrong with a file, instead of the first thing.

use std::fmt;

use crate::SettingsError;

/// What is wrong with a file. Its text has a line for each mistake, in the order of the file, and no more than
/// [`Mistakes::SHOWN`] of them.
///
/// Who compiles settings notes what is wrong and goes on with a stand-in; [`Mistakes::unless`] sees to it that nothing
/// made with one is ever used.
///
/// ```
/// use settings::{Located, Mistakes, SettingsError};
///
/// let even = |number: &Located<u32>| match **number % 2 {
///     0 => Ok(**number),
///     _ => Err(SettingsError::at(number, "is odd; write an even number")),
/// };
/// let mut mistakes = Mistakes::default();
/// let (one, two) = (mistakes.or(even(&1.into()), &0), mistakes.or(even(&2.into()), &0));
/// assert_eq!((one, two, mistakes.len()), (0, 2, 1));
/// assert!(mistakes.unless((one, two)).is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<SettingsError>);

impl Mistakes {
    /// So many are told at once: whoever made more begins with these.
    pub const SHOWN: usize = 20;

    /// Adds what is wrong.
    pub fn note(&mut self, mistakes: impl Into<Self>) {
        self.0.extend(mistakes.into().0);
    }

    /// What was read; or `instead`, if it is wrong, which is noted.
    pub fn or<T: Clone>(&mut self, read: Result<T, SettingsError>, instead: &T) -> T {
        self.keep(read).unwrap_or_else(|| instead.clone())
    }

    /// What was read, if nothing is wrong with it; if something is, that is noted.
    pub fn keep<T>(&mut self, read: Result<T, impl Into<Self>>) -> Option<T> {
        read.map_err(|mistakes| self.note(mistakes)).ok()
    }

    /// Those of many that nothing is wrong with.
    pub fn all<T, C: FromIterator<T>>(&mut self, read: impl IntoIterator<Item = Result<T, SettingsError>>) -> C {
        read.into_iter().filter_map(|one| self.keep(one)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, if nothing is wrong.
    ///
    /// # Errors
    /// What is wrong, in the order of the file. What an alias repeats counts once.
    pub fn unless<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self.sorted()) }
    }

    pub(crate) fn sorted(mut self) -> Self {
        let place = |mistake: &SettingsError| (mistake.place().line, mistake.place().column);
        self.0.sort_by_key(place);
        self.0.dedup_by(|a, b| place(a) == place(b) && a.problem() == b.problem());
        self
    }
}

impl From<SettingsError> for Mistakes {
    fn from(mistake: SettingsError) -> Self {
        Self(vec![mistake])
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a SettingsError;
    type IntoIter = std::slice::Iter<'a, SettingsError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.into_iter().take(Self::SHOWN).enumerate() {
            write!(f, "{}{mistake}", if number == 0 { "" } else { "\n" })?;
        }
        match self.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            1 => f.write_str("\nand 1 more mistake"),
            more => write!(f, "\nand {more} more mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}
