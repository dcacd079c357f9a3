"""The service under the scenarios: instances as processes, when each was well and known, and what each saw."""
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from process import Process

RECORD = struct.Struct(">QQB")
HEAD, TAKEN = 1, 2
FOREVER = float("inf")


# Ports of our own, below those that the kernel gives to whoever connects: they are free still when they are used.
PORTS = iter(range(20_000 + os.getpid() % 6_000, 32_000))


def fresh_addresses(count):
    """Addresses on loopback that nobody listens on, each handed out once."""
    found = []
    while len(found) < count:
        address = f"127.0.0.1:{next(PORTS)}"
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", int(address.split(":")[1])))
                found.append(address)
            except OSError:
                continue
    return found


def micros():
    return time.time_ns() // 1000


@dataclass
class Instance:
    """One instance, also after its end. Times are micros since the epoch."""
    name: str
    address: str
    record: Path
    delay: int
    process: Process = None
    # When it answered as it should, and when the proxies were told of it: [from, to].
    well: list = field(default_factory=list)
    known: list = field(default_factory=list)
    # Listeners that keep a dead instance's address silent.
    hole: list = field(default_factory=list)

    def say(self, line):
        """Tells it how to behave."""
        self.process.popen.stdin.write(line.encode() + b"\n")
        self.process.popen.stdin.flush()

    def turns(self, well):
        """Notes that it is well from now on, or is not."""
        if well and not (self.well and self.well[-1][1] == FOREVER):
            self.well.append([micros(), FOREVER])
        elif not well and self.well and self.well[-1][1] == FOREVER:
            self.well[-1][1] = micros()

    def is_well(self, begin, end):
        return any(a <= begin and end <= b for a, b in self.well)

    def is_known(self, begin, end):
        return any(a <= begin and end <= b for a, b in self.known)

    def seen(self):
        """What it wrote down: (micros, number, what)."""
        data = self.record.read_bytes() if self.record.exists() else b""
        return RECORD.iter_unpack(data[:len(data) - len(data) % RECORD.size])


class Service:
    """All instances of a run; `announce` is called with the addresses each time the list changes."""

    def __init__(self, program, folder, announce):
        self.program, self.folder, self.announce = program, folder, announce
        self.all, self.listed, self.lock = [], [], threading.RLock()

    # === Instances ===
    def start(self, count=1, delay=5, cold=0):
        """Starts instances and waits until they listen; nobody is told of them."""
        new = []
        for address in fresh_addresses(count):
            name = f"i{len(self.all)}"
            one = Instance(name, address, self.folder / f"{name}.record", delay)
            self.run(one, cold)
            self.all.append(one)
            new.append(one)
        for one in new:
            self.wait(one)
        return new

    def run(self, one, cold=0):
        """Starts the process of an instance, at its address."""
        argv = [self.program, "--listen", one.address, "--name", one.name, "--record", one.record, "--delay", one.delay,
                "--cold", cold]
        cores = f"0-{os.cpu_count() - 1}"
        one.process = Process(argv, cores, log=self.folder / "instances.log", stdin=subprocess.PIPE)

    def wait(self, one):
        if not one.process.wait_for(one.address):
            raise OSError(f"instance {one.name} did not start, see {self.folder / 'instances.log'}")
        one.turns(well=True)

    def restart(self, one, cold=0):
        """The same address again."""
        for hole in one.hole:
            hole.close()
        one.hole.clear()
        self.run(one, cold)
        self.wait(one)

    def kill(self, one):
        one.turns(well=False)
        self.signal(one, signal.SIGKILL)

    def term(self, one):
        one.turns(well=False)
        self.signal(one, signal.SIGTERM)

    def signal(self, one, number):
        try:
            os.kill(one.process.pid, number)
        except OSError:
            pass

    def gone(self, one, seconds=8):
        """Waits for its end."""
        try:
            one.process.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"scenarios: {one.name} does not end", file=sys.stderr)

    def blacken(self, one):
        """Its address swallows connection attempts: a listener that accepts nothing and whose queue is full."""
        one.turns(well=False)
        self.signal(one, signal.SIGKILL)
        self.gone(one)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, port = one.address.split(":")
        for _ in range(100):
            try:
                listener.bind((host, int(port)))
                break
            except OSError:
                time.sleep(0.01)
        listener.listen(0)
        one.hole = [listener, *fill(one.address)]

    def freeze(self, one):
        """It is silent on its open connections and swallows attempts to make others."""
        one.turns(well=False)
        self.signal(one, signal.SIGSTOP)
        one.hole = fill(one.address)

    def thaw(self, one):
        for hole in one.hole:
            hole.close()
        one.hole = []
        self.signal(one, signal.SIGCONT)
        one.turns(well=True)

    # === The registry ===
    def list(self, instances):
        """The registry names exactly these from now on."""
        with self.lock:
            now = micros()
            for one in self.all:
                if one in instances and not (one.known and one.known[-1][1] == FOREVER):
                    one.known.append([now, FOREVER])
                elif one not in instances and one.known and one.known[-1][1] == FOREVER:
                    one.known[-1][1] = now
            self.listed = list(instances)
            self.announce([one.address for one in self.listed])

    def familiar(self):
        """Everybody listed was known for long: the proxy showed it."""
        for one in self.listed:
            one.known[-1][0] = 0

    def enlist(self, *instances):
        with self.lock:
            self.list([*self.listed, *(one for one in instances if one not in self.listed)])

    def delist(self, *instances):
        with self.lock:
            self.list([one for one in self.listed if one not in instances])

    def end(self):
        for one in self.all:
            for hole in one.hole:
                hole.close()
            self.signal(one, signal.SIGKILL)


def fill(address):
    """Connects until the kernel answers no more."""
    host, port = address.split(":")
    held = []
    for _ in range(200):
        one = socket.socket()
        one.settimeout(0.1)
        held.append(one)
        try:
            one.connect((host, int(port)))
        except OSError:
            break
    return held


class Knocks(threading.Thread):
    """Counts connection attempts at addresses that swallow them: sockets that wait for an answer, by their local port."""

    def __init__(self, pid_ports=()):
        super().__init__(daemon=True)
        self.watched, self.seen, self.over = {}, {}, False
        self.ours = set(pid_ports)

    def watch(self, one):
        port = int(one.address.split(":")[1])
        self.ours |= {hole.getsockname()[1] for hole in one.hole}
        self.watched[port] = micros()

    def unwatch(self, one):
        self.watched.pop(int(one.address.split(":")[1]), None)

    def run(self):
        while not self.over:
            if self.watched:
                self.look()
            time.sleep(0.05)

    def look(self):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state = line.split()[:4]
            port, own = int(remote.split(":")[1], 16), int(local.split(":")[1], 16)
            if state == "02" and port in self.watched and own not in self.ours:
                self.seen.setdefault((port, own), micros())

    def counted(self):
        """(attempts, those that began more than a second after the first)."""
        times = sorted(self.seen.values())
        return len(times), sum(1 for at in times if at > times[0] + 1_000_000) if times else 0


class Sightings:
    """Everything all instances saw in a run."""

    def __init__(self, instances):
        self.by_number, self.taken, self.times = {}, {}, {}
        for one in instances:
            times = []
            for at, number, what in one.seen():
                (self.by_number if what == HEAD else self.taken).setdefault(number, []).append(one.name)
                if what == HEAD:
                    times.append(at)
            self.times[one.name] = times

    def tries(self):
        """How often an instance saw a request, all together."""
        return sum(map(len, self.by_number.values()))

    def twice(self, is_post):
        """Numbers of POSTs that were taken more than once."""
        return [number for number, names in self.taken.items() if is_post(number) and len(names) > 1]

    def count(self, name, begin, end):
        times = self.times.get(name, [])
        return bisect_right(times, end) - bisect_left(times, begin)
