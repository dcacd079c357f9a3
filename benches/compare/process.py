"""Processes: started on a core, read from /proc, ended by their pid."""
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

STARTED = []


class Process:
    """A process that runs until it is ended. Everything it starts counts as part of it."""

    def __init__(self, argv, cores, log=None, env=None, **pipes):
        out = open(log, "ab") if log else subprocess.DEVNULL
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out} | pipes
        self.popen = subprocess.Popen(
            ["taskset", "-c", str(cores), *map(str, argv)],
            env=os.environ | (env or {}), start_new_session=True, **streams)
        if log:
            out.close()
        self.pid = self.popen.pid
        STARTED.append(self)

    def tree(self):
        """Its pid and those of its descendants: it has a session of its own, which they share."""
        stats = ((int(stat.parent.name), read(stat)) for stat in Path("/proc").glob("[0-9]*/stat"))
        return [pid for pid, text in stats if text and int(text.rsplit(")", 1)[1].split()[3]) == self.pid]

    def threads(self):
        """Seconds each thread was on a core: {(pid, thread): (name, seconds)}."""
        times = {}
        for pid in self.tree():
            for task in Path(f"/proc/{pid}/task").glob("*"):
                stat = read(task / "schedstat")
                if stat:
                    times[pid, int(task.name)] = read(task / "comm").strip(), int(stat.split()[0]) / 1e9
        return times

    def cpu(self):
        """Seconds on a core, all threads together."""
        return sum(seconds for _, seconds in self.threads().values())

    def cpu_of(self, name):
        """Seconds on a core of the threads whose name is, or begins as, this."""
        return sum(seconds for comm, seconds in self.threads().values() if comm.startswith(name))

    def memory(self):
        """Bytes in memory: the proportional share (PSS), so that shared pages count once."""
        sums = (re.search(r"^Pss:\s+(\d+)", read(Path(f"/proc/{pid}/smaps_rollup")), re.M) for pid in self.tree())
        return sum(int(found[1]) * 1024 for found in sums if found)

    def wait_for(self, address, seconds=10):
        """Whether it takes connections there, in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.popen.poll() is None:
            if connects(address):
                return True
            time.sleep(0.02)
        return False

    def wait_for_calm(self, seconds=60, pause=0.5):
        """Waits until it hardly uses a core any more: what it does at its start is done."""
        end, before = time.monotonic() + seconds, self.cpu()
        while time.monotonic() < end:
            time.sleep(pause)
            now = self.cpu()
            if now - before < 0.02 * pause:
                return
            before = now

    def end(self):
        """Asks, then insists; nothing is ended by name."""
        if self in STARTED:
            STARTED.remove(self)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.tree():
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                pass


def end_all():
    """Ends what still runs, the last first."""
    while STARTED:
        STARTED[-1].end()


def read(path):
    """The text of a file of /proc, or nothing if its process is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def connects(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 0.3).close()
        return True
    except OSError:
        return False


def free_addresses(count=1):
    """Addresses on loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def output(argv, seconds, **options):
    """What a command that ends by itself prints; nothing if it does not end in time or fails."""
    process = Process(argv, options.pop("cores", f"0-{os.cpu_count() - 1}"), stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT if options.pop("errors", False) else subprocess.DEVNULL, **options)
    try:
        return process.popen.communicate(timeout=seconds)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return ""
    finally:
        process.end() if process.popen.poll() is None else STARTED.remove(process)


def cores():
    """Jiffies of each core since the machine started: {number: (all, busy)}."""
    found = {}
    for number, line in re.findall(r"^cpu(\d+) (.*)$", read(Path("/proc/stat")), re.M):
        jiffies = list(map(int, line.split()))[:8]
        found[int(number)] = sum(jiffies), sum(jiffies) - jiffies[3] - jiffies[4]
    return found


def busy(before, after, core):
    """The share of the time between two readings of `cores` in which one was busy."""
    (all_before, busy_before), (all_after, busy_after) = before[core], after[core]
    return (busy_after - busy_before) / max(1, all_after - all_before)
