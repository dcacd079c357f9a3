"""Clients: h2load for requests, our own `connections` for handshakes and idle connections."""
import json
import re
import subprocess

from process import Process, output

PATH = "/v1/items/42"


class Load:
    """The clients, all on one core."""

    def __init__(self, h2load, connections, core, log):
        self.h2load, self.connections, self.core, self.log = h2load, connections, core, log

    def requests(self, address, count, clients, streams, rate=None, h1=False, headers=(), seconds=60):
        """So many requests, as fast as they go or at a fixed rate. At a rate every answer's time is kept."""
        argv = [*self.h2load, "-t1", f"-n{count}", f"-c{clients}", f"-m{streams}", *(["--h1"] if h1 else [])]
        argv += [f"-H{header}" for header in headers]
        if rate:
            self.log.unlink(missing_ok=True)
            argv += [f"--rps={rate / clients}", f"--log-file={self.log}"]
        port = address.rsplit(":", 1)[1]
        said = output([*argv, f"https://localhost:{port}{PATH}"], seconds, cores=self.core)
        return read_h2load(said) | (self.latencies() if rate else {})

    def latencies(self):
        try:
            micros = sorted(int(line.split()[2]) for line in self.log.read_text().splitlines())
        except (OSError, IndexError, ValueError):
            return {}
        at = lambda share: micros[min(len(micros) - 1, int(len(micros) * share))]
        return {"p50": at(0.5), "p99": at(0.99)} if micros else {}

    def handshakes(self, address, count, resume, seconds=60):
        argv = [self.connections, "--to", address, "--count", count, *(["--resume"] if resume else [])]
        said = output(argv, seconds, cores=self.core)
        if not said:
            return {"ok": 0, "failed": count}
        done = json.loads(said)
        ok = done["full"] + done["resumed"]
        return {"ok": ok, "failed": done["failed"], "resumed": done["resumed"], "per_second": ok / done["seconds"]}

    def hold(self, address, count):
        """Opens idle connections; the process that holds them, and how many there are."""
        argv = [self.connections, "--to", address, "--count", count, "--parallel", 32, "--hold"]
        process = Process(argv, self.core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = json.loads(process.popen.stdout.readline() or b"{}")
        return process, said.get("full", 0) + said.get("resumed", 0)


def read_h2load(said):
    """The figures in what h2load prints."""
    found = {"ok": 0}
    if rate := re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", said):
        found["per_second"] = float(rate[1])
    if counts := re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", said):
        found["failed"] = sum(map(int, counts.groups()))
    if codes := re.search(r"status codes: (\d+) 2xx", said):
        found["ok"] = int(codes[1])
    return found
