//! Why a request goes where it goes. The same functions decide as on the path of a request; here they are asked one by
//! one, and nothing is sent.
//!
//! | File | |
//! |---|---|
//! | `explain.rs` | from a question to its explanation |
//! | `explain/question.rs` | a request that is only spoken of |
//! | `explain/answer.rs` | what is told |
//! | `explain/service.rs` | what becomes of it at its service: who takes it, and who does not |
//! | `explain/text.rs` | the same for people |
//! | `explain/api.rs` | `POST /explain` |
//! | `explain/verb.rs` | `pointsman explain` |

mod answer;
pub mod api;
mod question;
mod service;
mod text;
pub mod verb;

use std::sync::Arc;

use discovery::{Policies, Table};
use http::request::Parts;
use model::{Fields, Refusal};

pub use answer::{Decided, Explanation, Instance, Other, Refused, Service};
pub use question::Question;

use crate::{
    exchange::Asked,
    hygiene,
    plan::{Current, Plan},
    target::{self, Target},
};

/// What is known of services when the question is asked.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// All that a running router knows.
    Table(&'a Table),
    /// Only what the file says.
    File(&'a Policies),
}

/// Explains what would become of a request now.
///
/// # Errors
/// Why the question can be no request, in words.
pub fn explain(plan: &Arc<Plan>, known: Known<'_>, question: &Question) -> Result<Explanation, String> {
    let plan = Current(Arc::clone(plan));
    let head = question.head()?;
    let fields = Fields::of(&head.headers);
    let mut told = Explanation { request: question.line(), ..Explanation::default() };
    let target = match target::of(&plan, &head, fields) {
        Ok(target) => target,
        Err(refusal) => {
            told.refused = Some(Refused::of(&refusal));
            told.passed_over = others(&plan, &head, fields);
            return Ok(told);
        }
    };
    told.decided = Some(decided(&plan, &head, &target.asked));
    if matches!(target.asked, Asked::Route(_)) {
        told.passed_over = others(&plan, &head, fields);
    }
    told.path = Some(target.uri.to_string());
    let (service, refusal) = service::of(&plan, known, question, &head, &target);
    told.service = Some(service);
    told.refused = refusal.map(|refusal| refused(&plan, &target, &refusal));
    Ok(told)
}

/// What named the service.
fn decided(plan: &Current, head: &Parts, asked: &Asked) -> Decided {
    match asked {
        Asked::Route(index) => {
            let rule = &plan.route(*index).data;
            Decided { by: "route".into(), name: rule.name.clone(), route: Some(*index), line: line(rule.line) }
        }
        Asked::Name(_) => {
            let header = target::naming(plan, head).map(|name| ("header", name.as_str()));
            let (by, name) = header.unwrap_or_else(|| ("query", plan.names.query.as_deref().unwrap_or_default()));
            Decided { by: by.into(), name: name.to_owned(), route: None, line: None }
        }
    }
}

/// The routes with this path that it does not follow.
fn others(plan: &Current, head: &Parts, fields: Fields) -> Vec<Other> {
    let (Ok(said), Ok(authority)) = (target::read(plan, head, fields), hygiene::check(head, fields)) else {
        return Vec::new();
    };
    let over = plan.routes.passed_over(&said.ask(head, authority.as_ref()));
    let other = |over: crate::route::PassedOver| {
        let rule = &plan.route(over.route).data;
        Other { route: over.route, line: line(rule.line), name: rule.name.clone(), why: over.why.to_string() }
    };
    over.into_iter().map(other).collect()
}

fn refused(plan: &Current, target: &Target, refusal: &Refusal) -> Refused {
    let fallback = plan.fallback(Some(&target.asked)).is_some_and(|fallback| fallback.is_for(refusal));
    Refused { fallback, ..Refused::of(refusal) }
}

fn line(line: usize) -> Option<usize> {
    (line > 0).then_some(line)
}
