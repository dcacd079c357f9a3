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

use std::{collections::BTreeSet, sync::Arc};

use discovery::{Policies, Table};
use http::request::Parts;
use model::{Fields, Refusal, ServiceId};

pub use answer::{Decided, Explanation, Instance, Other, Refused, Service};
pub use question::Question;

use crate::{
    exchange::Asked,
    fallback, hygiene, limits,
    plan::{Current, Instead, Plan},
    refuse,
    target::{self, Target},
};

/// So many routes are told of that a request does not follow.
const OTHERS: usize = 50;

/// What is known of services when the question is asked.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// All that a running router knows.
    Table(&'a Table),
    /// Only what the file says, and all services that can ever have an instance, if it says that.
    File(&'a Policies, Option<&'a BTreeSet<&'a ServiceId>>),
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
            (told.passed_over, told.passed_over_more) = others(&plan, &head, fields);
            return Ok(told);
        }
    };
    told.decided = Some(decided(&plan, &head, &target.asked));
    if matches!(target.asked, Asked::Route(_)) {
        (told.passed_over, told.passed_over_more) = others(&plan, &head, fields);
    }
    told.path = Some(target.uri.to_string());
    let (service, refusal) = service::of(&plan, known, question, &head, &target);
    told.service = Some(service);
    told.refused = refusal.map(|refusal| {
        let of = |target: &Target| service::of(&plan, known, question, &head, target).1;
        refused(&plan, &head, &target, &refusal, of)
    });
    Ok(told)
}

/// What named the service.
fn decided(plan: &Current, head: &Parts, asked: &Asked) -> Decided {
    match asked {
        Asked::Route(index) => {
            let rule = &plan.route(*index).data;
            Decided { by: "route".into(), name: rule.name.clone(), route: Some(*index), line: line(rule.line) }
        }
        Asked::Name(_) | Asked::Instead(_) => {
            let header = target::naming(plan, head).map(|name| ("header", name.as_str()));
            let (by, name) = header.unwrap_or_else(|| ("query", plan.names.query.as_deref().unwrap_or_default()));
            Decided { by: by.into(), name: name.to_owned(), route: None, line: None }
        }
    }
}

/// The routes with this path that it does not follow, and how many more there are. None of them is asked about what goes no
/// further anyway.
fn others(plan: &Current, head: &Parts, fields: Fields) -> (Vec<Other>, Option<usize>) {
    let checked = limits::check_head(&plan.limits, head).and_then(|()| hygiene::check(head, fields));
    let (Ok(authority), Ok(said)) = (checked, target::read(plan, head, fields)) else { return Default::default() };
    let (over, more) = plan.routes.passed_over(&said.ask(head, authority.as_ref()), OTHERS);
    let other = |over: crate::route::PassedOver| {
        let rule = &plan.route(over.route).data;
        Other { route: over.route, line: line(rule.line), name: rule.name.clone(), why: over.why.to_string() }
    };
    (over.into_iter().map(other).collect(), (more > 0).then_some(more))
}

/// What the client is told: the refusal, or what its route says for that. `of` says why another service would not take the
/// request.
fn refused(
    plan: &Current,
    head: &Parts,
    target: &Target,
    refusal: &Refusal,
    of: impl Fn(&Target) -> Option<Refusal>,
) -> Refused {
    let grpc = refuse::is_grpc(&head.headers);
    let fallback = plan.fallback(Some(&target.asked)).filter(|fallback| {
        fallback.is_for(refusal) && fallback::stands_in(&fallback.instead, grpc, &head.method, Some(refusal))
    });
    match fallback.map(|fallback| &fallback.instead) {
        None => Refused::of(refusal),
        Some(Instead::Static { .. }) => Refused { fallback: true, ..Refused::of(refusal) },
        Some(Instead::Service(name)) => {
            let asked = Asked::Instead(Arc::clone(name));
            let second = of(&Target { asked, environment: target.environment.clone(), uri: target.uri.clone() });
            let told = Refused::of(second.as_ref().unwrap_or(refusal));
            Refused { fallback: second.is_none(), asked_instead: Some(name.to_string()), ..told }
        }
    }
}

fn line(line: usize) -> Option<usize> {
    (line > 0).then_some(line)
}
