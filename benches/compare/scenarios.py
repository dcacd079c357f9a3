"""The scenarios, and the bench they run on."""
import json
import sys
import time
from dataclasses import dataclass

import changes
import forwarding
import memory
import peers
import threads
from load import Load
from process import Process, end_all, free_addresses

KIB, MIB = 1024, 1024 * 1024


@dataclass
class Scenario:
    """What is asked of the proxies. `up` is what the backends speak; a proxy that cannot speaks HTTP/1.1 to them."""
    name: str
    what: str
    run: "Callable"
    up: str = "h2c"
    body: int = KIB
    clients: int = 8
    streams: int = 32
    rate: int = None
    h1: bool = False
    resume: bool = False
    repetitions: int = 5
    unit: str = "request"


AT_A_RATE = {"rate": 2000, "run": forwarding.run}
ALL = {one.name: one for one in [
    Scenario("S1", "HTTP/2 over TLS to h2c, 1 KiB, saturated", forwarding.run),
    Scenario("S1r", "HTTP/2 over TLS to h2c, 1 KiB, 2,000 requests/s", repetitions=9, **AT_A_RATE),
    Scenario("S1b", "HTTP/2 over TLS to HTTP/1.1, 1 KiB, saturated", forwarding.run, up="h1"),
    Scenario("S2", "HTTP/2 over TLS to HTTP/2 over TLS, 1 KiB, saturated", forwarding.run, up="h2"),
    Scenario("S2r", "HTTP/2 over TLS to HTTP/2 over TLS, 1 KiB, 2,000 requests/s", up="h2", **AT_A_RATE),
    Scenario("S3", "HTTP/1.1 over TLS, kept alive, to h2c, 1 KiB", forwarding.run, h1=True, clients=32, streams=1),
    Scenario("S3b", "HTTP/1.1 over TLS, kept alive, to HTTP/1.1, 1 KiB", forwarding.run, up="h1", h1=True, clients=32,
             streams=1),
    Scenario("S4", "HTTP/2 over TLS to h2c, 1 MiB", forwarding.run, body=MIB, clients=4, streams=4, unit="MiB"),
    Scenario("S4b", "HTTP/2 over TLS to HTTP/2 over TLS, 1 MiB", forwarding.run, up="h2", body=MIB, clients=4, streams=4,
             unit="MiB"),
    Scenario("S5", "full TLS 1.3 handshakes (X25519, ECDSA P-256), one request each", forwarding.run, unit="handshake"),
    Scenario("S5r", "resumed TLS 1.3 handshakes, one request each", forwarding.run, resume=True, unit="handshake"),
    Scenario("S6", "memory of idle HTTP/2 connections over TLS", memory.idle),
    Scenario("S7", "memory of 10,000 services with 10 instances each", memory.services),
    Scenario("S7c", "changes among 100,000 registered instances, at 2,000 requests/s", changes.run, rate=2000),
    Scenario("S8", "two data cores against one, at 20,000 requests/s", threads.scaling, rate=20_000),
    Scenario("S9", "8 client connections on two data cores, at 8,000 requests/s", threads.spread, rate=8000),
]}


class Bench:
    """Starts proxies and backends of one scenario after the other, and keeps what was measured."""
    BACKENDS = 4

    def __init__(self, options, tools):
        self.options, self.tools, self.folder = options, tools, options.folder
        self.load = Load(tools.packaged("h2load"), tools.connections, options.load_core, self.folder / "latencies")
        self.backends, self.missing, self.notes = {}, set(), []

    def run(self, scenario):
        """The rows of a scenario. Whatever was started for it has ended after it."""
        try:
            return list(scenario.run(self, scenario))
        finally:
            end_all()
            self.backends.clear()

    def repetitions(self, scenario):
        return self.options.reps or scenario.repetitions

    def names(self):
        return [*self.tools.ours, *self.options.peers]

    def setup(self, name, up="h2c", backends=(), body=KIB):
        """A place for a proxy: addresses, and a folder of its own."""
        listen, admin = free_addresses(2)
        folder = self.folder / "proxies" / f"{name}-{listen.rsplit(':', 1)[1]}"
        folder.mkdir(parents=True, exist_ok=True)
        return peers.Setup(name, listen, admin, list(backends), up, folder, self.tools, body)

    def backends_of(self, up, body):
        """Four instances in one process, which all proxies of the scenario share."""
        if up not in self.backends:
            addresses = free_addresses(self.BACKENDS)
            kind = "--tls" if up == "h2" else "--clear"
            tools = self.tools
            argv = [tools.backend, "--chain", tools.chain, "--key", tools.key, "--body", body]
            process = Process([*argv, *(word for address in addresses for word in (kind, address))],
                              self.options.load_core, log=self.folder / "backend.log")
            if not process.wait_for(addresses[-1]):
                raise OSError(f"the backend did not start, see {self.folder / 'backend.log'}")
            self.backends[up] = addresses
        return self.backends[up]

    def start(self, setup, started, cores=None, seconds=10):
        """Starts a proxy; None, with a word about it, if it is missing or does not listen."""
        if not started:
            self.miss(setup.name, "is not there")
            return None
        argv, env = started
        cores = self.options.proxy_core if cores is None else cores
        process = Process(argv, cores, log=setup.folder / "log", env=env)
        if not process.wait_for(setup.listen, seconds):
            self.miss(setup.name, f"did not start, see {setup.folder}")
            process.end()
            return None
        return process

    def proxy(self, name, scenario):
        """A proxy that forwards and answered once, with its setup."""
        make = peers.ours if name in self.tools.ours else peers.ALL[name]
        for up in dict.fromkeys([scenario.up, "h1"] if scenario.up == "h2c" else [scenario.up]):
            setup = self.setup(name, up, self.backends_of(up, scenario.body), scenario.body)
            started = make(setup)
            if not started:
                continue
            process = self.start(setup, started)
            if process and self.load.requests(setup.listen, 8, 4, 1, h1=scenario.h1, seconds=5)["ok"] == 8:
                return setup, process
            if process:
                self.miss(name, f"did not answer over {up}, see {setup.folder}")
                process.end()
        self.miss(name, "is not there or cannot do this")
        return None

    def miss(self, name, why):
        if (name, why) not in self.missing:
            self.missing.add((name, why))
            print(f"compare: {name} {why}", file=sys.stderr, flush=True)

    def note(self, text):
        """Something worth knowing beside the table."""
        self.notes.append(text)


class Results:
    """The rows of every scenario, in a file; a scenario that is measured again replaces its older rows."""

    def __init__(self, file):
        self.file = file
        self.rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def of(self, name):
        return [row for row in self.rows if row.get("scenario") == name]

    def replace(self, name, rows, about):
        about = {"about": name, "at": time.strftime("%Y-%m-%d %H:%M"), **about}
        kept = [row for row in self.rows if name not in (row.get("scenario"), row.get("about"))]
        self.rows = [*kept, about, *({"scenario": name, **row} for row in rows)]
        self.file.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def about(self, name):
        return next((row for row in self.rows if row.get("about") == name), None)
