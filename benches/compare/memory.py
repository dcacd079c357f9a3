"""Memory: of idle connections, and of many services."""
import json
import time

import peers
import pointsman
from registry import metrics

CONNECTIONS = (1000, 10_000)
SERVICES, INSTANCES = 10_000, 10
# So many different lists of addresses; services share them, proxies do not know that.
LISTS = 500
# What a start needed for a moment, some give back a little later.
REST = 5


def idle(bench, scenario):
    """Each proxy alone, without and with its connections."""
    for name in bench.names():
        proxy = name != "direct" and bench.proxy(name, scenario)
        if not proxy:
            continue
        setup, process = proxy
        process.wait_for_calm()
        base = process.memory()
        for count in CONNECTIONS:
            clients, held = bench.load.hold(setup.listen, count)
            process.wait_for_calm()
            total, before = process.memory(), process.cpu()
            time.sleep(1)
            yield {"peer": name, "up": setup.up, "connections": count, "held": held, "base": base, "total": total,
                   "each": (total - base) / max(1, held), "idle_cpu": process.cpu() - before}
            clients.end()
            time.sleep(1)
        process.end()


def services(bench, scenario):
    """Each proxy alone, from its start until it rests."""
    makers = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}
    listed = many_services()
    for name in bench.names():
        if name not in bench.tools.ours and name not in makers:
            continue
        setup = bench.setup(name)
        if name in bench.tools.ours:
            started = ours(setup, listed)
        else:
            started = makers[name](setup, listed)
        begun = time.monotonic()
        process = bench.start(setup, started, seconds=60)
        if not process:
            continue
        wall = time.monotonic() - begun
        process.wait_for_calm()
        time.sleep(REST)
        if name in bench.tools.ours:
            known = metrics(setup.admin)["pointsman_table_services"]
            bench.note(f"{name} knows {known:,.0f} services")
        yield {"peer": name, "memory": process.memory(), "cpu": process.cpu(), "wall": wall}
        process.end()


def many_services(lists=LISTS):
    """{name: addresses}. Nobody is at these addresses, and nobody asks for them."""
    def addresses(number):
        return [f"127.{10 + number % lists // 100}.{number % 100}.{last}:8080" for last in range(1, INSTANCES + 1)]
    return {f"service-{number:05}": addresses(number) for number in range(SERVICES)}


def ours(setup, listed):
    file = setup.write("router.yml", pointsman.listing(setup, listed))
    return [setup.tools.ours[setup.name], "run", "--config", file], {}


def nginx(setup, listed):
    """It sets places for kept connections aside, 32 for each service unless told otherwise: a quarter of its memory."""
    blocks = ["  map_hash_max_size 65536;\n  map_hash_bucket_size 128;\n  map $http_service_id $chosen {"]
    blocks += [f"    {name} {name};" for name in listed] + ["  }"]
    for name, addresses in listed.items():
        servers = " ".join(f"server {address};" for address in addresses)
        blocks.append(f"  upstream {name} {{ {servers} keepalive 1; }}")
    return peers.nginx_with(setup, "\n".join(blocks), "http://$chosen")


def haproxy(setup, listed):
    argv = setup.tools.packaged("haproxy")
    chosen = setup.write("services.map", "".join(f"{name} {name}\n" for name in listed))
    text = peers.HAPROXY.format(listen=setup.listen, both=setup.tools.both)
    lines = [text + f"  use_backend %[req.hdr(service_id),map({chosen})]"]
    for name, addresses in listed.items():
        lines.append(f"backend {name}")
        lines += [f"  server s{number} {address} proto h2" for number, address in enumerate(addresses)]
    return argv and ([*argv, "-db", "-f", setup.write("haproxy.cfg", "\n".join(lines) + "\n")], {})


def envoy(setup, listed):
    """Its file is YAML, of which JSON is a part; the clusters of the ordinary one are replaced."""
    started = peers.envoy(setup)
    spoken = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}

    def cluster(name, addresses):
        pairs = (address.split(":") for address in addresses)
        ends = [{"endpoint": {"address": {"socket_address": {"address": ip, "port_value": int(port)}}}}
                for ip, port in pairs]
        return {"name": name, "type": "STATIC", "typed_extension_protocol_options": spoken,
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]}}

    file = setup.folder / "envoy.yaml"
    head = file.read_text().split("  clusters:\n")[0].replace("cluster: all", "cluster_header: service_id")
    lines = (f"  - {json.dumps(cluster(name, addresses))}\n" for name, addresses in listed.items())
    file.write_text(head + "  clusters:\n" + "".join(lines))
    return started
