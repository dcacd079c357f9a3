//! An explanation for people.

use std::fmt;

use super::{Decided, Explanation, Instance, Other, Service};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.service.as_ref().map_or("nowhere", |service| &service.name);
        match &self.refused {
            None => writeln!(f, "{} goes to {service}", self.request)?,
            Some(refused) => {
                let end = match (refused.fallback, &refused.asked_instead) {
                    (true, None) => "; the fallback of its route answers instead".to_owned(),
                    (true, Some(other)) => format!("; the fallback of its route gets it instead: service {other}"),
                    (false, None) => String::new(),
                    (false, Some(other)) => format!(" (service {other}, the fallback of its route, has it no better)"),
                };
                let (status, reason) = (refused.status, &refused.reason);
                writeln!(f, "{} is refused: {status} {reason}, {}{end}", self.request, refused.description)?;
            }
        }
        self.decided.iter().try_for_each(|decided| write!(f, "{decided}"))?;
        self.passed_over.iter().try_for_each(|other| write!(f, "{other}"))?;
        self.passed_over_more.iter().try_for_each(|more| writeln!(f, "nor {more} more with its path"))?;
        self.path.iter().try_for_each(|path| writeln!(f, "its instance sees {path}"))?;
        self.service.iter().try_for_each(|service| write!(f, "{service}"))
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.route {
            Some(route) => writeln!(f, "by route {route}{}: {}", Line(self.line), self.name),
            None if self.by == "query" => writeln!(f, "by the query parameter {}; routes are not asked", self.name),
            None => writeln!(f, "by the header {}; routes are not asked", self.name),
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "not route {}{}: {}: {}", self.route, Line(self.line), self.name, self.why)
    }
}

/// ` (line 7)`, if it is known.
struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, " (line {line})"))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exposed = if self.exposed { "exposed" } else { "not exposed" };
        write!(f, "service {}: {exposed} ({})", self.name, self.because)?;
        self.environment.iter().try_for_each(|environment| write!(f, ", environment {environment:?}"))?;
        self.in_flight.iter().try_for_each(|in_flight| write!(f, ", {in_flight} in flight"))?;
        writeln!(f)?;
        let width = |of: fn(&Instance) -> usize| self.instances.iter().map(of).max().unwrap_or_default();
        let (ids, addresses) = (width(|instance| instance.id.len()), width(|instance| instance.address.len()));
        for instance in &self.instances {
            let Instance { id, address, why, .. } = instance;
            writeln!(f, "  {id:ids$}  {address:addresses$}  {why}")?;
        }
        self.choice.iter().try_for_each(|choice| writeln!(f, "goes to {choice}"))
    }
}
