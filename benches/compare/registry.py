"""A client of Pointsman's embedded registry, and of its admin listener."""
import json
import re
import socket
import threading
import time
import urllib.request

WORKERS = 16


class Registry:
    """One kept connection. What is written waits for its answer."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = address

    def register(self, name, address, weight=1):
        ip, port = address.rsplit(":", 1)
        body = json.dumps({"name": name, "ip": ip, "port": int(port), "protocol": "h2c", "ttl": "none", "weight": weight})
        head = f"POST /registry/register HTTP/1.1\r\nhost: {self.host}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall((head + body).encode())
        answer = b""
        while not (whole := re.match(rb"(?si)HTTP/1.1 (\d+).*?content-length: (\d+).*?\r\n\r\n(.*)", answer)) \
                or len(whole[3]) < int(whole[2]):
            more = self.socket.recv(4096)
            if not more:
                raise OSError("the registry closed the connection")
            answer += more
        if int(whole[1]) != 200:
            raise OSError(f"the registry says {answer.decode(errors='replace')}")


def register_all(address, services):
    """Registers {name: addresses} over several connections at once."""
    todo = [(name, one) for name, addresses in services.items() for one in addresses]
    failed = []

    def work(part):
        try:
            registry = Registry(address)
            for name, one in part:
                registry.register(name, one)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(todo[number::WORKERS],), daemon=True) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


class Registrations:
    """Registers one instance so often a second, each time of another service, until it is stopped.

    With `changing`, it is the first of the service with a weight it never had: `first` is how many changes there were
    before. Else it is the second, as it is registered already.
    """

    def __init__(self, address, services, per_second, first, changing):
        self.registry, self.services, self.pause = Registry(address), list(services.items()), 1 / per_second
        self.changing = changing
        self.first, self.count, self.failed, self.stopping = first, 0, None, threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def work(self):
        due = time.monotonic()
        while not self.stopping.wait(max(0, due - time.monotonic())):
            due += self.pause
            # A step that shares no factor with the number of services goes through all before it comes back.
            number = self.first + self.count
            name, addresses = self.services[number * 7919 % len(self.services)]
            try:
                if self.changing:
                    self.registry.register(name, addresses[0], weight=2 + number // len(self.services))
                else:
                    self.registry.register(name, addresses[1])
            except OSError as error:
                self.failed = error
                return
            self.count += 1


def metrics(admin):
    """The router's metrics without labels: {name: value}."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+) ([\d.e+-]+)$", text, re.M)}
