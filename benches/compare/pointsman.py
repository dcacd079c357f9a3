"""Pointsman's own configurations. What they do not say has its default, so that the router is measured as it is used."""
# 256 streams and long-lived connections are what every peer gets; the rest is about one worker and one certificate.
COMMON = """listeners:
  - address: {listen}
    tls: {{ certificates: [ {{ chain: {chain}, key: {key} }} ] }}
admin: {{ address: {admin} }}
limits: {{ streams: 256 }}
clients: {{ keep_alive: 600s }}
drain: {{ delay: 0s, deadline: 1s }}
threads: {threads}
access_log: {{ format: off }}
"""
SCHEMES = {"h2c": "h2c", "h2": "https", "h1": "http"}


def common(setup, threads=1):
    tools = setup.tools
    return COMMON.format(listen=setup.listen, admin=setup.admin, chain=tools.chain, key=tools.key, threads=threads)


def forwarding(setup, threads=1):
    """Everything to one service, whose instances are listed."""
    urls = ", ".join(f'"{SCHEMES[setup.up]}://{address}"' for address in setup.backends)
    return common(setup, threads) + f"""registries: {{ all: {{ static: {{ services: {{ backend: [ {urls} ] }} }} }} }}
routes: [ {{ prefix: /, service: backend }} ]
services: {{ backend: {{ tls: {{ verify: false }} }} }}
"""


def listing(setup, services):
    """Many services, listed: {name: addresses}. Equal lists are written once and named again: a file has at most 1 MiB."""
    lines, anchors = [], {}
    for name, addresses in services.items():
        text = ",".join(f"h2c://{address}" for address in addresses)
        known = text in anchors
        anchor = anchors.setdefault(text, f"l{len(anchors)}")
        lines.append(f'        {name}: ' + (f"*{anchor}" if known else f'&{anchor} "{text}"'))
    listed = "\n".join(lines)
    return common(setup) + f"registries:\n  all:\n    static:\n      services:\n{listed}\nexpose: {{ all: true }}\n"


def registering(setup, registry):
    """An empty registry of its own, remembered on disk as by default."""
    return common(setup) + f"""registries:
  all: {{ embedded: {{ address: {registry}, directory: {setup.folder / "registry"} }} }}
routes: [ {{ prefix: /, service: backend }} ]
expose: {{ all: true }}
"""
