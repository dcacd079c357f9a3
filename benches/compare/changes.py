"""What changes in a registry cost, while requests go on."""
import time

import pointsman
from memory import many_services
from process import free_addresses
from registry import Registrations, metrics, register_all

PER_SECOND = 50


def run(bench, scenario):
    """100,000 instances registered; then the same load with nothing else, with renewals and with changes, in turn.

    A renewal is the same request as a change and says nothing new: what it costs is the registry's API, and what a
    change costs above it is the change.
    """
    for name in bench.tools.ours:
        registry = free_addresses()[0]
        setup = bench.setup(name, backends=bench.backends_of("h2c", scenario.body))
        file = setup.write("router.yml", pointsman.registering(setup, registry))
        process = bench.start(setup, ([bench.tools.ours[name], "run", "--config", file], {}))
        if not process or not process.wait_for(registry):
            continue
        listed = many_services(lists=10_000)
        register_all(registry, {"backend": setup.backends})
        begun = time.monotonic()
        register_all(registry, listed)
        bench.note(f"{name}: 100,000 instances registered in {time.monotonic() - begun:.0f} s, "
                   f"{process.memory() / 2**20:.0f} MiB")
        process.wait_for_calm()
        done = {"renewals": 0, "changes": 0}
        for repetition in range(-1, bench.repetitions(scenario)):
            quiet = measure(bench, scenario, setup, process)
            rows = {"nothing": quiet}
            for doing, before in done.items():
                with Registrations(registry, listed, PER_SECOND, before, changing=doing == "changes") as registrations:
                    row = measure(bench, scenario, setup, process)
                done[doing] += registrations.count
                if registrations.failed or (doing == "changes") != (row["publications"] > 0):
                    raise registrations.failed or OSError(f"{doing} of the registry: {row['publications']} publications")
                rows[doing] = row | each(row, quiet, registrations.count)
            rows["changes"]["above"] = rows["changes"]["each"] - rows["renewals"]["each"]
            if repetition >= 0:
                for doing, row in rows.items():
                    yield {"peer": name, "repetition": repetition, "doing": doing, **row}
        process.end()


def each(row, quiet, count):
    """What each of these registrations cost, in microseconds, over what is spent without them."""
    count, share = max(1, count), row["wall"] / quiet["wall"]
    return {"registrations": count, "publish": row["published"] / row["publications"] if row["publications"] else None,
            "each": (row["control"] - quiet["control"] * share) / count * 1e6,
            "others_each": (row["others"] - quiet["others"] * share) / count * 1e6}


def measure(bench, scenario, setup, process):
    """One stretch of load; where the router spent time in it, by threads, and how long publishing took."""
    count = int(scenario.rate * bench.options.seconds * 3)
    counted, times, begun = metrics(setup.admin), by_kind(process), time.monotonic()
    row = bench.load.requests(setup.listen, count, scenario.clients, scenario.streams, scenario.rate)
    spent = {kind: seconds - times[kind] for kind, seconds in by_kind(process).items()}
    wall, now = time.monotonic() - begun, metrics(setup.admin)
    row |= {"wall": wall, "control": spent["control"], "others": spent["others"]}
    row |= {"micros": spent["core-"] / row["ok"] * 1e6} if row["ok"] else {}
    for key, metric in (("published", "sum"), ("publications", "count")):
        row[key] = now[f"pointsman_publish_seconds_{metric}"] - counted[f"pointsman_publish_seconds_{metric}"]
    return row


def by_kind(process):
    """Seconds on a core: data cores, the control thread, and all others (the journal of the registry)."""
    kinds = {"core-": process.cpu_of("core-"), "control": process.cpu_of("control")}
    return kinds | {"others": process.cpu() - sum(kinds.values())}
