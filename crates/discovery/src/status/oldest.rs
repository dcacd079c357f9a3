//! How old the oldest of what a source says is.

use std::time::Duration;

use model::Tick;

use super::{Source, State};

impl Source {
    /// The greatest [age](Source::age) of its services; zero as long as it stands by all it says. Looks at those alone of
    /// which it is not certain, of which there are none in quiet times.
    #[must_use]
    pub fn oldest(&self, now: Tick) -> Duration {
        let inherited = self.inherited.values().max().map(|age| *age + now.since(self.started));
        let doubted = self.doubts.values().map(|doubt| now.since(doubt.since)).max();
        let unconfirmed = self.unconfirmed.values().map(|since| now.since(*since)).max();
        let down = matches!(self.state, State::Down(_)).then(|| now.since(self.since));
        inherited.max(doubted).max(unconfirmed).max(down).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use model::ProviderError;

    use super::*;
    use crate::{provider::Kind, status::Doubt, testing::service};

    #[test]
    fn the_oldest_word_counts_whatever_made_it_old() {
        let second = |n: u64| Tick(1).after(Duration::from_secs(n));
        let mut source = Source::new(0, "dc1".into(), Kind::Consul, second(10));
        let oldest = |source: &Source| source.oldest(second(100)).as_secs();
        assert_eq!(oldest(&source), 0);
        (source.state, source.since) = (State::Down(ProviderError::Closed), second(90));
        assert_eq!(oldest(&source), 10);
        source.unconfirmed.insert(service("pets"), second(80));
        assert_eq!(oldest(&source), 20);
        let doubt = |since| Doubt { error: ProviderError::Closed, since };
        source.doubts.extend([(service("a"), doubt(second(70))), (service("b"), doubt(second(99)))]);
        assert_eq!(oldest(&source), 30);
        source.inherited.insert(service("pets"), Duration::from_secs(5));
        assert_eq!(oldest(&source), 95, "remembered for 5 s when it was started");
        for name in ["pets", "a", "b"] {
            let age = source.age(&service(name), second(100)).unwrap();
            assert!(age <= source.oldest(second(100)), "{name}");
        }
    }
}
