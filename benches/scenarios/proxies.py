"""The proxies under the scenarios: a careful configuration of each, and how it is told who serves.

Every proxy has one worker, speaks HTTP/2 in clear text on both sides, connects within 1 s, waits 15 s for a head, sends
what was not processed to another instance (idempotent requests also after 502, 503, 504 and resets), at most four tries,
and has the health checks it knows. Told of a change: Pointsman by its own registry (or Consul, or a file), Envoy by a file
(EDS), HAProxy by its runtime API, nginx by a reload.
"""
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

from peers import NGINX
from process import Process
from service import fresh_addresses


class Proxy:
    """One running proxy. `announce` tells it all addresses; `lose_registry` takes away what it is told by."""
    shown = ""

    def __init__(self, tools, folder):
        self.tools, self.folder, self.process = tools, folder, None
        self.listen, self.admin = fresh_addresses(2)

    def write(self, name, text):
        """Whole or not at all: beside it, then renamed."""
        path = self.folder / name
        beside = self.folder / f".{name}.new"
        beside.write_text(text)
        os.replace(beside, path)
        return path

    def spawn(self, argv):
        self.process = Process(argv, f"0-{os.cpu_count() - 1}", log=self.folder / "log")
        if not self.process.wait_for(self.listen):
            raise OSError(f"did not start, see {self.folder / 'log'}")

    def lose_registry(self):
        """Nothing to lose, unless it says otherwise: its configuration stays what it was."""

    def find_registry(self):
        """The registry is back."""

    def end(self):
        if self.process:
            self.process.end()


POINTSMAN = """listeners: [ {{ address: "{listen}" }} ]
admin: {{ address: "{admin}" }}
registries: {{ all: {{ {registry} }} }}
routes: [ {{ prefix: /, service: items }} ]
drain: {{ delay: 0s, deadline: 1s }}
threads: 1
access_log: {{ format: off }}
discovery: {{ directory: "{folder}/discovery" }}
"""


class FromFile(Proxy):
    """Pointsman with its defaults, but for one data core and no access log; it reads a file."""

    def start(self, addresses):
        self.path = self.folder / "services.yml"
        self.announce(addresses)
        self.run(f'file: {{ path: "{self.path}" }}')

    def run(self, registry):
        text = POINTSMAN.format(listen=self.listen, admin=self.admin, folder=self.folder, registry=registry)
        self.spawn([self.tools.pointsman, "run", "--config", self.write("router.yml", text)])

    def announce(self, addresses):
        urls = ", ".join(f'"h2c://{address}"' for address in addresses)
        self.write("services.yml", f"services: {{ items: [ {urls} ] }}\n")

    def lose_registry(self):
        self.kept = self.path.read_text()
        self.path.unlink()

    def find_registry(self):
        self.write("services.yml", self.kept)


class Registered(FromFile):
    """The same, where instances are registered one by one with a server."""

    def start(self, addresses):
        self.known = []
        (self.registry,) = fresh_addresses(1)

    def announce(self, addresses):
        for address in [one for one in addresses if one not in self.known]:
            self.register(address)
        for address in [one for one in self.known if one not in addresses]:
            self.deregister(address)
        self.known = list(addresses)

    def put(self, path, said=None, method="PUT"):
        body = json.dumps(said).encode() if said else None
        asked = urllib.request.Request(f"http://{self.registry}{path}", body, method=method,
                                       headers={"content-type": "application/json"})
        urllib.request.urlopen(asked, timeout=5).close()


class Embedded(Registered):
    """Its own registry, told of instances by HTTP."""

    def start(self, addresses):
        super().start(addresses)
        shutil.rmtree(self.folder / "registry", ignore_errors=True)
        self.run(f'embedded: {{ address: "{self.registry}", directory: "{self.folder / "registry"}" }}')
        self.process.wait_for(self.registry)
        self.announce(addresses)

    def register(self, address):
        host, port = address.split(":")
        self.put("/registry/register", method="POST",
                 said={"name": "items", "ip": host, "port": int(port), "protocol": "h2c", "ttl": "none"})

    def deregister(self, address):
        host, port = address.split(":")
        self.put("/registry/deregister", {"name": "items", "ip": host, "port": int(port)}, method="POST")


class FromConsul(Registered):
    """A Consul agent of its own; when that is back it has forgotten everything, and is told again."""
    agent = None

    def start(self, addresses):
        super().start(addresses)
        self.ports = [address.split(":")[1] for address in fresh_addresses(4)]
        self.find_registry()
        self.announce(addresses)
        self.run(f'consul: {{ url: "http://{self.registry}" }}')

    def register(self, address):
        host, port = address.split(":")
        self.put("/v1/agent/service/register", {"ID": address, "Name": "items", "Address": host, "Port": int(port),
                                                "Meta": {"protocol": "h2c"}})

    def deregister(self, address):
        self.put(f"/v1/agent/service/deregister/{address}")

    def announce(self, addresses):
        if self.agent:
            super().announce(addresses)

    def lose_registry(self):
        os.kill(self.agent.pid, signal.SIGKILL)
        self.agent.popen.wait(5)
        self.agent = None

    def find_registry(self):
        ports = zip(("-dns-port", "-grpc-port", "-server-port", "-serf-lan-port"), self.ports)
        self.agent = Process(
            [consul(), "agent", "-dev", "-node", "node1", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-http-port",
             self.registry.split(":")[1], *(word for pair in ports for word in pair), "-serf-wan-port", "-1",
             "-hcl", "disable_update_check = true"], f"0-{os.cpu_count() - 1}", log=self.folder / "consul.log")
        known, self.known = self.known, []
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{self.registry}/v1/health/service/consul?passing", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        self.announce(known)

    def end(self):
        super().end()
        if self.agent:
            self.agent.end()


def consul():
    """What tests/registries/install unpacks; else the system's."""
    path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pointsman-registries/consul/usr/bin/consul"
    found = path if path.exists() else shutil.which("consul")
    if not found:
        raise OSError("Consul is missing: tests/registries/install consul")
    return found


HAPROXY = """global
  nbthread 1
  maxconn 12000
  no strict-limits
  stats socket {folder}/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 15s
  timeout queue 5s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response junk-response response-timeout 502 503 504
frontend clients
  bind {listen} proto h2
  http-request disable-l7-retry if METH_POST
  default_backend all
backend all
  balance random
  option httpchk GET /health
  default-server check inter 1s fall 2 rise 2 observe layer7 error-limit 10 on-error mark-down slowstart 5s
{servers}
"""


class Haproxy(Proxy):
    """Slots for servers, filled by the runtime API: no reload, no lost connection."""
    SLOTS = 120

    def start(self, addresses):
        self.slots = {number: None for number in range(self.SLOTS)}
        lines = []
        for number in self.slots:
            address = addresses[number] if number < len(addresses) else None
            self.slots[number] = address
            lines.append(f"  server s{number} {address or '127.0.0.1:1'} proto h2" + ("" if address else " disabled"))
        text = HAPROXY.format(folder=self.folder, listen=self.listen, servers="\n".join(lines))
        self.spawn([*self.tools.peers.packaged("haproxy"), "-db", "-f", self.write("haproxy.cfg", text)])

    def announce(self, addresses):
        commands = []
        for number, address in self.slots.items():
            if address and address not in addresses:
                commands.append(f"set server all/s{number} state maint")
                self.slots[number] = None
        free = [number for number, address in self.slots.items() if not address]
        for address in addresses:
            if address not in self.slots.values():
                number = free.pop()
                self.slots[number] = address
                host, port = address.split(":")
                commands.append(f"set server all/s{number} addr {host} port {port}")
                commands.append(f"set server all/s{number} state ready")
        for command in commands:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(self.folder / "admin.sock"))
                one.sendall(command.encode() + b"\n")
                while one.recv(4096):
                    pass


UPSTREAM = """  upstream all {{
    zone all 1m;
    random two least_conn;
{servers}
    keepalive 128;
  }}
"""
RETRIES = """      proxy_connect_timeout 1s;
      proxy_read_timeout 15s;
      proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
      proxy_next_upstream_tries 4;
      proxy_ssl_verify off;"""


class Nginx(Proxy):
    """Passive health (`max_fails`), and a reload for each change."""

    def start(self, addresses):
        self.announce(addresses)
        argv = self.tools.peers.packaged("nginx")
        self.spawn([*argv, "-c", self.folder / "nginx.conf", "-p", self.folder, "-e", self.folder / "error.log"])

    def announce(self, addresses):
        if not addresses:
            return
        servers = "\n".join(f"    server {address} max_fails=3 fail_timeout=5s;" for address in addresses)
        text = NGINX.format(folder=self.folder, listen=self.listen, chain="CHAIN", key="KEY", target="http://all",
                            version="2", upstreams=UPSTREAM.format(servers=servers))
        text = text.replace(" ssl backlog=4096", " backlog=4096").replace("      proxy_ssl_verify off;", RETRIES)
        lines = [line for line in text.splitlines() if not line.strip().startswith("ssl_")]
        self.write("nginx.conf", "\n".join(["worker_shutdown_timeout 30s;", *lines]))
        if self.process:
            # The master: the session's leader is taskset, which became it.
            os.kill(self.process.pid, signal.SIGHUP)


ENVOY = """node: {{id: scenarios, cluster: scenarios}}
static_resources:
  listeners:
  - name: clients
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /, headers: [{{name: ":method", string_match: {{exact: POST}}}}]}}
                route: {{cluster: all, timeout: 15s, retry_policy: {{retry_on: "connect-failure,refused-stream,reset-before-request", {retries}}}}}
              - match: {{prefix: /}}
                route: {{cluster: all, timeout: 15s, retry_policy: {{retry_on: "connect-failure,refused-stream,reset,gateway-error", {retries}}}}}
  clusters:
  - name: all
    type: EDS
    eds_cluster_config: {{eds_config: {{path_config_source: {{path: {folder}/eds.yaml, watched_directory: {{path: {folder}}}}}, resource_api_version: V3}}}}
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    least_request_lb_config: {{slow_start_config: {{slow_start_window: 5s}}}}
    ignore_health_on_host_removal: true
    circuit_breakers: {{thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, retry_budget: {{budget_percent: {{value: 20}}, min_retry_concurrency: 50}}}}]}}
    outlier_detection: {{consecutive_5xx: 5, consecutive_gateway_failure: 3, enforcing_consecutive_gateway_failure: 100, split_external_local_origin_errors: true, consecutive_local_origin_failure: 3, interval: 1s, base_ejection_time: 5s, max_ejection_percent: 50}}
    health_checks:
    - {{timeout: 0.5s, interval: 1s, no_traffic_interval: 1s, unhealthy_interval: 1s, unhealthy_threshold: 2, healthy_threshold: 1, http_health_check: {{path: /health, codec_client_type: HTTP2}}}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{connection_keepalive: {{interval: 1s, timeout: 2s}}}}}}
"""
ENVOY_RETRIES = (
    "num_retries: 3, retry_back_off: {base_interval: 0.005s, max_interval: 0.05s}, host_selection_retry_max_attempts: 5, "
    "retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {\"@type\": "
    "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]")
EDS = """resources:
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: all
  endpoints: [{{lb_endpoints: [{endpoints}]}}]
"""


class Envoy(Proxy):
    """Endpoints from a file, active checks, outlier detection."""

    def start(self, addresses):
        self.announce(addresses)
        text = ENVOY.format(port=self.listen.split(":")[1], folder=self.folder, retries=ENVOY_RETRIES)
        argv = self.tools.peers.built("envoy")
        self.spawn([*argv, "-c", self.write("envoy.yaml", text), "--concurrency", "1", "--disable-hot-restart", "-l", "error"])

    def announce(self, addresses):
        one = "{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}".format
        self.write("eds.yaml", EDS.format(endpoints=", ".join(one(*address.split(":")) for address in addresses)))


class Elsewhere(Proxy):
    """A proxy that somebody else started, at a URL; a command tells it who serves: it gets all addresses as arguments."""

    def __init__(self, url, command, folder):
        self.folder, self.process, self.command = folder, None, shlex.split(command or "")
        at = urlparse(url)
        if at.scheme not in ("http", "h2c") or not at.port:
            raise OSError(f"{url}: give http://ADDRESS:PORT, where it speaks HTTP/2 in clear text")
        self.listen = f"{socket.gethostbyname(at.hostname)}:{at.port}"

    def start(self, addresses):
        self.announce(addresses)
        time.sleep(1)

    def announce(self, addresses):
        if not self.command:
            raise OSError("--announce COMMAND is needed: it is called with all addresses whenever they change")
        subprocess.run([*self.command, *addresses], check=True, timeout=30)


KNOWN = {"pointsman": Embedded, "pointsman-file": FromFile, "pointsman-consul": FromConsul, "haproxy": Haproxy,
         "nginx": Nginx, "envoy": Envoy}


def make(name, story, tools, command, folder):
    """A proxy by its name, not started yet. The embedded registry cannot be gone alone, so then a file is."""
    if name == "pointsman" and story.registry_is_lost:
        name = "pointsman-file"
    return KNOWN[name](tools, folder) if name in KNOWN else Elsewhere(name, command, folder)
