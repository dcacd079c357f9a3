"""What changes in a registry cost, while requests go on."""
import time

import pointsman
from memory import many_services
from process import free_addresses
from registry import Changes, metrics, register_all

PER_SECOND = 50


def run(bench, scenario):
    """100,000 instances registered; then the same load without and with changes, in turn."""
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
        done = 0
        for repetition in range(-1, bench.repetitions(scenario)):
            without = measure(bench, scenario, setup, process)
            with Changes(registry, listed, PER_SECOND, done) as changes:
                changed = measure(bench, scenario, setup, process)
            done += changes.count
            if changes.failed or not changed["publications"]:
                raise changes.failed or OSError("changes of the registry are not published")
            if repetition < 0:
                continue
            quiet = without["control"] / without["wall"]
            count = max(1, changes.count)
            changed |= {
                "changes": changes.count, "publish": changed["published"] / max(1, changed["publications"]),
                "each": (changed["control"] - quiet * changed["wall"]) / count * 1e6,
                "others_each": (changed["others"] - without["others"] * changed["wall"] / without["wall"]) / count * 1e6}
            yield {"peer": name, "repetition": repetition, "changing": False, **without}
            yield {"peer": name, "repetition": repetition, "changing": True, **changed}
        process.end()


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
