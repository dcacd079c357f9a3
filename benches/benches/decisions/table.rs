//! A change of the table, from what the sources say to what a core reads, and a look-up in it.

use std::{hint::black_box, sync::Arc};

use balancer::Algorithm;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use discovery::{Table, TableCell, table::Touched};

use crate::{
    FEW,
    services::{self, INSTANCES, NOW, SERVICES},
    turns,
};

pub(crate) fn measure(criterion: &mut Criterion) {
    let policies = services::policies(Algorithm::LeastRequests);
    let table = services::table(SERVICES, &policies);
    let mut group = criterion.benchmark_group("table");
    // Every time another service, as in life: its shard is in no cache.
    for (what, instances) in [("one of 10 instances leaves one service", INSTANCES - 1), ("nothing changed", INSTANCES)]
    {
        let said: Vec<Touched> = (0..SERVICES).map(|number| services::touched(number, instances)).collect();
        let mut turn = turns(said.len());
        // The successor's end counts too: the reconciler pays for that of each table.
        let next = |touched: Touched| table.next([touched], &policies, NOW).is_some();
        group.bench_function(format!("next, {what}"), |b| b.iter_batched(|| said[turn()].clone(), next, FEW));
    }
    let names = services::names();
    let mut turn = turns(names.len());
    let exposed = |name: &str| table.exposed(name).is_some();
    assert!(names.iter().all(|name| exposed(name)), "every service is found");
    group.bench_function("exposed, one of all names", |b| b.iter(|| exposed(&names[turn()])));
    group.bench_function("exposed, always the same name", |b| b.iter(|| exposed(black_box(&names[0]))));
    group.bench_function("exposed, no such name", |b| b.iter(|| exposed(black_box("com.example.nobody"))));
    let next = table.next([services::touched(0, INSTANCES - 1)], &policies, NOW).expect("one instance less").table;
    swaps(&mut group, table, next);
    group.finish();
}

fn swaps(group: &mut BenchmarkGroup<'_, WallTime>, table: Table, next: Table) {
    let cell = TableCell::new(table);
    let mut reader = cell.reader();
    group.bench_function("reader load, the same table", |b| b.iter(|| reader.load().generation));
    // Two tables in turn: after its load the reader holds the old one no more, so it can be stored again.
    let mut spare = Some(next);
    group.bench_function("store, and the reader's next load", |b| {
        b.iter(|| {
            let old = cell.store(spare.take().expect("nobody else holds it"));
            let generation = reader.load().generation;
            spare = Arc::into_inner(old);
            generation
        });
    });
}
