//! What becomes of a request at its service: who takes it, and who does not.

use admin::circuit;
use balancer::Ask;
use discovery::{Member, Policies, Reach, Service as Serving, Table};
use http::request::Parts;
use model::{Refusal, ServiceId, Tick};
use transport::clock;

use super::{Instance, Known, Question, Service};
use crate::{affinity, attempt::circuit as breaker, exchange::Asked, plan::Current, target::Target};

/// The service, and why it would not take the request, if so.
pub(super) fn of(
    plan: &Current,
    known: Known<'_>,
    question: &Question,
    head: &Parts,
    target: &Target,
) -> (Service, Option<Refusal>) {
    let name = target.asked.service(plan).to_owned();
    let environment = target.environment.as_ref().map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned());
    let table = match known {
        Known::Table(table) => table,
        Known::File(policies, foreseen) => {
            let (exposed, mut because) = by_file(policies, &name, &target.asked);
            let is_hopeless = foreseen.is_some_and(|all| !all.iter().any(|service| service.as_str() == name));
            let mut refusal = (!exposed).then_some(Refusal::UnknownService);
            if exposed && is_hopeless {
                because += ", but it is in no static list, and there is no other registry";
                let is_routed = policies.routed.iter().any(|service| service.as_str() == name);
                refusal = Some(if is_routed { Refusal::NoInstance } else { Refusal::UnknownService });
            }
            return (Service { name, exposed, because, environment, ..Service::default() }, refusal);
        }
    };
    let Some(found) = target.asked.find(plan, table) else {
        let (because, refusal) = hidden(table, &name);
        return (Service { name, because, environment, ..Service::default() }, Some(refusal));
    };
    let (hash, held) = affinity::of(found, question.client, head);
    let ask = Ask { hash, tried: &[], now: clock::tick() };
    let members = || found.reach(environment.as_deref(), &ask);
    let refusal = match found.vitals.breaker.would_admit(ask.now) {
        Err(wait) => Some(breaker::refused(wait)),
        Ok(()) => found.admits(environment.as_deref(), &ask).is_none().then_some(Refusal::NoInstance),
    };
    let service = Service {
        exposed: true,
        because: exposed_by(&table.policies, found, &target.asked),
        balance: Some(found.policy.balance.algorithm.name().to_owned()),
        in_flight: Some(found.vitals.occupancy.in_flight()),
        choice: refusal.is_none().then(|| choice(found, environment.as_deref(), held, &ask)),
        instances: members().map(|(member, reach)| instance(member, reach, environment.as_deref(), ask.now)).collect(),
        environment: environment.clone(),
        name,
    };
    (service, refusal)
}

/// What the balancer would do. It is asked only where its answer is always the same, so that nobody's turn is taken.
fn choice(service: &Serving, environment: Option<&str>, held: Option<u64>, ask: &Ask<'_>) -> String {
    let name = service.policy.balance.algorithm.name();
    if let Some(member) = held.and_then(|token| service.held(environment, token, ask)) {
        return format!("{}, because its client stays with it", member.instance.id);
    }
    let (mut takers, mut others, mut draining) = (Vec::new(), Vec::new(), Vec::new());
    for (member, reach) in service.reach(environment, ask) {
        match reach {
            Reach::Chosen => takers.push(member),
            Reach::Draining => draining.push(member),
            Reach::Elsewhere => {}
            Reach::Out | Reach::Weightless | Reach::StandsBy | Reach::Suspect => others.push(member),
        }
    }
    let others = if others.is_empty() { draining } else { others };
    let last = if takers.is_empty() { ", as last choice: none is there that takes requests" } else { "" };
    match (&takers[..], &others[..]) {
        ([], []) => "none is there that takes requests".to_owned(),
        ([only], _) => format!("{}, the only one that takes requests", only.instance.id),
        ([], [only]) => format!("{}{last}", only.instance.id),
        _ if ask.hash.is_some() => match service.pick(environment, ask) {
            Ok(member) => format!("{}, by the hash of its key ({name}){last}", member.instance.id),
            Err(_) => "none is there that takes requests".to_owned(),
        },
        ([], others) => format!("one of {}{last}", others.len()),
        (takers, _) => format!("one of the {} that take requests, by {name}", takers.len()),
    }
}

fn instance(member: &Member, reach: Reach, environment: Option<&str>, now: Tick) -> Instance {
    let Member { instance, upstream, source, .. } = member;
    let state = upstream.vitals.state(now);
    let out = circuit::of_instance(state, now);
    let why = match reach {
        // Such requests may go there, one of them first.
        Reach::Chosen if out.is_some() => String::new(),
        Reach::Chosen => "takes requests".to_owned(),
        Reach::Out => String::new(),
        Reach::Weightless => "has weight 0: gets requests only if nobody else can take them".to_owned(),
        Reach::StandsBy => "stands by: its group takes over when those before it cannot".to_owned(),
        Reach::Suspect => "was withdrawn under suspicion: gets requests only if nobody else takes them".to_owned(),
        Reach::Draining => "is draining: gets requests only if nobody else is there".to_owned(),
        Reach::Elsewhere => match environment {
            Some(environment) => format!("is not in environment {environment:?}"),
            None if instance.environment_only => "is only for requests that name its environment".to_owned(),
            None => "is not in the environment of this router".to_owned(),
        },
    };
    let mut parts = vec![why];
    parts.extend(out.map(|view| format!("out ({}) for {} s; {}", view.causes.join(", "), view.since_s, view.ends)));
    parts.extend(upstream.trouble().map(|why| format!("no connection by {}: {why}", upstream.protocol.as_str())));
    parts.retain(|part| !part.is_empty());
    Instance {
        id: instance.id.to_string(),
        address: upstream.address.to_string(),
        source: source.to_string(),
        takes: reach == Reach::Chosen,
        why: parts.join("; "),
        zone: instance.zone.as_deref().map(str::to_owned),
        weight: instance.weight,
        in_flight: upstream.vitals.in_flight(),
    }
}

/// What lets this client reach it.
fn exposed_by(policies: &Policies, service: &Serving, asked: &Asked) -> String {
    let by = if !matches!(asked, Asked::Name(_)) {
        "a route leads to it"
    } else if policies.exposure.names(&service.id) {
        "expose names it"
    } else {
        "expose names a tag of its instances"
    };
    by.to_owned()
}

/// Why clients cannot reach it.
fn hidden(table: &Table, name: &str) -> (String, Refusal) {
    if table.service(name).is_some() {
        let why = "it is known, but expose names neither it nor a tag of its instances, so only routes lead to it";
        return (why.to_owned(), Refusal::UnknownService);
    }
    match ServiceId::new(name) {
        Err(error) => (error.to_string(), Refusal::UnknownService),
        Ok(service) if table.policies.may_subscribe(&service) => {
            ("nobody asked for it yet: a request has the registries asked".to_owned(), Refusal::Unanswered)
        }
        Ok(_) => ("no registry tells of it".to_owned(), Refusal::UnknownService),
    }
}

/// What the file alone says of who may reach it.
fn by_file(policies: &Policies, name: &str, asked: &Asked) -> (bool, String) {
    let Ok(service) = ServiceId::new(name) else { return (false, "it is no name of a service".to_owned()) };
    let (exposed, because) = if !matches!(asked, Asked::Name(_)) {
        (true, "a route leads to it")
    } else if policies.exposure.names(&service) {
        (true, "expose names it, if a registry knows it")
    } else if policies.exposure.may_expose(&service) {
        (true, "expose names tags: it is if one of its instances carries one")
    } else {
        (false, "expose does not name it")
    };
    (exposed, because.to_owned())
}
