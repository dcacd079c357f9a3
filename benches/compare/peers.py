"""The peers: one function each, which writes a configuration and returns how to start it.

A function takes a Setup and returns (argv, environment), or None where the peer is missing or cannot do what is asked.
Every peer gets one worker thread, the same certificate, 256 streams a connection, windows of 1 MiB, no access log, and
keeps its connections open.
"""
import shutil
from dataclasses import dataclass
from pathlib import Path

import pointsman


@dataclass
class Setup:
    """What a proxy is to do: listen at an address and forward to backends that speak `up` (h2c, h2 or h1)."""
    name: str
    listen: str
    admin: str
    backends: list
    up: str
    folder: Path
    tools: "Tools"
    body: int = 1024

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


@dataclass
class Tools:
    """Where programs and certificates are."""
    cache: Path
    backend: Path
    connections: Path
    chain: Path
    key: Path
    both: Path
    ours: dict

    def packaged(self, name):
        """A program that `fetch` unpacked, started by the loader of its own release; else the system's."""
        root = self.cache / "sid"
        for path in (root / "usr/sbin" / name, root / "usr/bin" / name):
            loader = next(root.glob("usr/lib/*/ld-linux*.so.*"), None)
            if path.exists() and loader:
                return [loader, "--library-path", loader.parent, path]
        path = shutil.which(name)
        return [Path(path)] if path else None

    def built(self, name):
        """A program that `fetch` built or took whole; else the system's."""
        path = self.cache / "bin" / name
        found = path if path.exists() else shutil.which(name)
        return [Path(found)] if found else None


def nghttpx(setup):
    argv = setup.tools.packaged("nghttpx")
    spoken = {"h2c": "proto=h2", "h2": "proto=h2;tls", "h1": "proto=http/1.1"}[setup.up]
    backends = [f"--backend={address.replace(':', ',')};;{spoken}" for address in setup.backends]
    return argv and ([
        *argv, "--conf=/dev/null", f"--frontend={setup.listen.replace(':', ',')}", *backends, "--insecure",
        "--workers=1", "--single-process", "--frontend-http2-max-concurrent-streams=256",
        "--frontend-http2-idle-timeout=600s", "--frontend-http2-window-size=1M",
        "--frontend-http2-connection-window-size=4M", "--backend-http2-window-size=1M",
        "--backend-http2-connection-window-size=4M", "--backlog=4096", "--log-level=ERROR",
        setup.tools.key, setup.tools.chain], {})


HAPROXY = """global
  nbthread 1
  maxconn 12000
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.h2.fe.max-concurrent-streams 256
  tune.h2.be.max-concurrent-streams 256
  tune.h2.fe.initial-window-size 1048576
  tune.h2.be.initial-window-size 1048576
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend clients
  bind {listen} ssl crt {both} alpn h2,http/1.1
"""


def haproxy(setup):
    argv = setup.tools.packaged("haproxy")
    spoken = {"h2c": "proto h2", "h2": "ssl verify none alpn h2", "h1": "proto h1"}[setup.up]
    servers = "".join(f"  server s{number} {address} {spoken}\n" for number, address in enumerate(setup.backends))
    text = HAPROXY.format(listen=setup.listen, both=setup.tools.both)
    text += f"  default_backend all\nbackend all\n  balance roundrobin\n{servers}"
    return argv and ([*argv, "-db", "-f", setup.write("haproxy.cfg", text)], {})


NGINX = """daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 15000; }}
http {{
  client_body_temp_path {folder}/client_body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
{upstreams}
  server {{
    listen {listen} ssl backlog=4096;
    http2 on;
    http2_max_concurrent_streams 256;
    http2_chunk_size 16k;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass {target};
      proxy_http_version {version};
      proxy_set_header Connection "";
      proxy_ssl_verify off;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 16k;
      proxy_buffers 8 32k;
      proxy_busy_buffers_size 64k;
    }}
  }}
}}
"""


def nginx(setup):
    servers = "".join(f"    server {address};\n" for address in setup.backends)
    upstreams = f"  upstream all {{\n{servers}    keepalive 512;\n    keepalive_requests 1000000000;\n  }}"
    return nginx_with(setup, upstreams, ("https" if setup.up == "h2" else "http") + "://all")


def nginx_with(setup, upstreams, target):
    argv = setup.tools.packaged("nginx")
    version = "1.1" if setup.up == "h1" else "2"
    file = setup.write("nginx.conf", NGINX.format(
        folder=setup.folder, listen=setup.listen, chain=setup.tools.chain, key=setup.tools.key, upstreams=upstreams,
        target=target, version=version))
    return argv and ([*argv, "-c", file, "-p", setup.folder, "-e", setup.folder / "error.log"], {})


ENVOY = """static_resources:
  listeners:
  - name: clients
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}]
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          generate_request_id: false
          http2_protocol_options: {h2}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
              suppress_envoy_headers: true
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: all, timeout: 0s}}}}]}}
  clusters:
  - name: all
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{spoken}}}
    load_assignment: {{cluster_name: all, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}
{tls}"""
ENVOY_H2 = ("{max_concurrent_streams: 256, initial_stream_window_size: 1048576, "
            "initial_connection_window_size: 4194304}")
ENVOY_TLS = """    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context: {alpn_protocols: [h2]}
"""


def envoy(setup):
    argv = setup.tools.built("envoy")
    endpoint = "{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}".format
    file = setup.write("envoy.yaml", ENVOY.format(
        port=setup.listen.rsplit(":", 1)[1], chain=setup.tools.chain, key=setup.tools.key, h2=ENVOY_H2,
        spoken="http_protocol_options: {}" if setup.up == "h1" else f"http2_protocol_options: {ENVOY_H2}",
        endpoints=", ".join(endpoint(*address.split(":")) for address in setup.backends),
        tls=ENVOY_TLS if setup.up == "h2" else ""))
    return argv and ([*argv, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"], {})


def pingora(setup):
    argv = setup.tools.built("pingora-ref")
    options = ["--listen", setup.listen, "--cert", setup.tools.chain, "--key", setup.tools.key, "--up", setup.up]
    return argv and ([*argv, *options, *(word for address in setup.backends for word in ("--backend", address))], {})


CADDY = """{{
  admin off
  auto_https off
  persist_config off
  default_bind 127.0.0.1
  servers {{
    protocols h1 h2
    timeouts {{
      idle 10m
    }}
  }}
}}
https://:{port} {{
  tls {chain} {key}
  reverse_proxy {{
    to {backends}
    lb_policy round_robin
    transport http {{
      {versions}
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"""


def caddy(setup):
    argv = setup.tools.packaged("caddy")
    scheme = {"h2c": "h2c", "h2": "https", "h1": "http"}[setup.up]
    versions = {"h2c": "versions h2c", "h2": "tls_insecure_skip_verify\n      versions 2", "h1": "versions 1.1"}
    file = setup.write("Caddyfile", CADDY.format(
        port=setup.listen.rsplit(":", 1)[1], chain=setup.tools.chain, key=setup.tools.key,
        backends=" ".join(f"{scheme}://{address}" for address in setup.backends), versions=versions[setup.up]))
    folder = str(setup.folder)
    env = {"GOMAXPROCS": "1", "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
    return argv and ([argv[-1], "run", "--config", file, "--adapter", "caddyfile"], env)


SOZU = """command_socket = "{folder}/sozu.sock"
saved_state = "{folder}/state"
log_level = "error"
log_target = "file://{folder}/sozu.log"
command_buffer_size = 16384
max_command_buffer_size = 163840
worker_count = 1
worker_automatic_restart = false
handle_process_affinity = false
max_connections = 9900
max_buffers = 40000
min_buffers = 100
buffer_size = 16393
front_timeout = 600
back_timeout = 600
[[listeners]]
protocol = "https"
address = "{listen}"
alpn_protocols = ["h2", "http/1.1"]
tls_versions = ["TLS_V12", "TLS_V13"]
[clusters.all]
protocol = "http"
load_balancing = "ROUND_ROBIN"
http2 = {h2}
frontends = [{{ address = "{listen}", hostname = "localhost", certificate = "{chain}", key = "{key}", certificate_chain = "{chain}" }}]
backends = [{backends}]
"""


def sozu(setup):
    argv = setup.tools.built("sozu")
    if setup.up == "h2":
        return None
    backends = (f'{{ address = "{address}", backend_id = "{number}" }}' for number, address in enumerate(setup.backends))
    file = setup.write("sozu.toml", SOZU.format(
        folder=setup.folder, listen=setup.listen, h2=str(setup.up == "h2c").lower(), chain=setup.tools.chain,
        key=setup.tools.key, backends=", ".join(backends)))
    return argv and ([*argv, "start", "-c", file], {})


def direct(setup):
    """No proxy: the backend itself, with TLS."""
    tools = setup.tools
    return [tools.backend, "--tls", setup.listen, "--chain", tools.chain, "--key", tools.key, "--body", setup.body], {}


def ours(setup):
    """A build of Pointsman, by the name it has in the tables."""
    file = setup.write("router.yml", pointsman.forwarding(setup))
    return [setup.tools.ours[setup.name], "run", "--config", file], {}


ALL = {"nghttpx": nghttpx, "haproxy": haproxy, "nginx": nginx, "envoy": envoy, "pingora": pingora, "caddy": caddy,
       "sozu": sozu, "direct": direct}
