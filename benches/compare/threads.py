"""More than one data core: what a second one costs, and how connections spread."""
import os

import pointsman
from forwarding import measure

CLIENTS = 8


def start(bench, name, scenario, threads):
    """A build of ours with so many data cores: the first has the proxy's core, the second shares the one of the load."""
    setup = bench.setup(name, backends=bench.backends_of("h2c", scenario.body))
    file = setup.write("router.yml", pointsman.forwarding(setup, threads))
    both = bench.options.proxy_core, bench.options.load_core
    process = bench.start(setup, ([bench.tools.ours[name], "run", "--config", file], {}), cores=",".join(map(str, both)))
    for (_, thread), (comm, _) in process.threads().items() if process else ():
        if comm.startswith("core-"):
            os.sched_setaffinity(thread, {both[int(comm.removeprefix("core-"))]})
    return setup, process


def ask(bench, scenario, setup):
    count = int(scenario.rate * bench.options.seconds)
    return bench.load.requests(setup.listen, count, CLIENTS, scenario.streams, scenario.rate)


def scaling(bench, scenario):
    """The same offered load with one data core and with two, in turn."""
    for name in bench.tools.ours:
        routers = {threads: start(bench, name, scenario, threads) for threads in (1, 2)}
        for repetition in range(-1, bench.repetitions(scenario)):
            for threads, (setup, process) in routers.items() if repetition % 2 else reversed(routers.items()):
                if process:
                    row = measure(bench, process, lambda: ask(bench, scenario, setup))
                    if repetition >= 0:
                        yield {"peer": name, "repetition": repetition, "threads": threads, **row}


def spread(bench, scenario):
    """Every connection carries the same, so the CPU time of each data core says how many it has."""
    for name in bench.tools.ours:
        setup, process = start(bench, name, scenario, 2)
        if not process:
            continue
        ask(bench, scenario, setup)
        for repetition in range(bench.repetitions(scenario)):
            before = [process.cpu_of(f"core-{number}") for number in range(2)]
            row = ask(bench, scenario, setup)
            spent = [process.cpu_of(f"core-{number}") - start for number, start in enumerate(before)]
            shares = [one / max(1e-9, sum(spent)) for one in spent]
            yield {"peer": name, "repetition": repetition, "shares": shares,
                   "most": round(max(shares) * CLIENTS), **row}
