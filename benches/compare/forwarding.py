"""Requests and handshakes through all proxies at once, which are measured one after the other."""
import time

from process import busy, cores


def run(bench, scenario):
    """The order is reversed each time, so that nobody always follows the same one; a first round only warms up."""
    proxies = {name: proxy for name in bench.names() if (proxy := bench.proxy(name, scenario))}
    counts = {}
    for repetition in range(-1, bench.repetitions(scenario)):
        for name in list(proxies) if repetition % 2 else reversed(proxies):
            setup, process = proxies[name]
            if name not in counts:
                counts[name] = count(bench, scenario, setup)
            row = measure(bench, process, lambda: ask(bench, scenario, setup, counts[name]))
            if repetition < 0:
                counts[name] = fitting(bench, scenario, row.get("per_second")) or counts[name]
            else:
                yield {"peer": name, "repetition": repetition, "up": setup.up, **row}


def count(bench, scenario, setup):
    """How many requests fill one repetition, by a first guess."""
    if scenario.unit == "handshake":
        return int(800 * bench.options.seconds)
    if scenario.rate:
        return int(scenario.rate * bench.options.seconds * 1.5)
    some = 400 if scenario.unit == "MiB" else 4000
    return fitting(bench, scenario, ask(bench, scenario, setup, some).get("per_second")) or some


def fitting(bench, scenario, per_second):
    """How many fill it at this throughput; None where the number is given."""
    if scenario.unit == "handshake" or scenario.rate or not per_second:
        return None
    return max(200, int(per_second * bench.options.seconds))


def ask(bench, scenario, setup, count):
    limit = bench.options.seconds * 8 + 20
    if scenario.unit == "handshake":
        return bench.load.handshakes(setup.listen, count, scenario.resume, limit)
    return bench.load.requests(setup.listen, count, scenario.clients, scenario.streams, scenario.rate, scenario.h1,
                               seconds=limit)


def measure(bench, process, ask):
    """What the clients saw, and what the proxy spent on it."""
    load_core = bench.options.load_core
    jiffies, before = cores(), process.cpu()
    row = ask()
    # What the proxy does after the last answer belongs to it too.
    time.sleep(0.02)
    row["cpu"] = process.cpu() - before
    row["load_busy"] = busy(jiffies, cores(), load_core)
    if row["ok"]:
        row["micros"] = row["cpu"] / row["ok"] * 1e6
    return row
