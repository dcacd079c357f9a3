"""What is measured, and on what: programs, certificates, versions, the machine."""
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from peers import Tools
from process import output

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DESCRIPTORS = 65_536


def build(*packages):
    """Builds with the profile of packages; where the programs are."""
    subprocess.run(["cargo", "build", "--profile", "dist", *packages], cwd=ROOT, check=True, timeout=3600)
    asked = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    said = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, timeout=600).stdout
    return Path(json.loads(said)["target_directory"]) / "dist"


def plain():
    return build("-p", "router") / "pointsman"


def profile_guided(options):
    """The build that figures are of."""
    built = subprocess.run([HERE.parent / "pgo"], env=os.environ | {"COMPARE_CACHE": str(options.cache)}, check=True,
                           stdout=subprocess.PIPE, text=True, timeout=3 * 3600)
    return Path(built.stdout.strip())


def tools(options):
    """Everything that is started, apart from the peers themselves."""
    built = build("-p", "benches", "--bin", "backend", "--bin", "connections")
    ours = dict(options.pointsman) or {"pointsman": plain() if options.plain else profile_guided(options)}
    if missing := [str(path) for path in ours.values() if not path.exists()]:
        sys.exit(f"not there: {', '.join(missing)}")
    chain, key, both = (options.folder / name for name in ("cert.pem", "key.pem", "both.pem"))
    if not both.exists():
        certificate(chain, key)
        both.write_text(chain.read_text() + key.read_text())
    found = Tools(options.cache, built / "backend", built / "connections", chain, key, both, ours)
    if not found.packaged("h2load"):
        sys.exit("h2load is missing: benches/compare/fetch, or install nghttp2-client")
    return found


def certificate(chain, key):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True, timeout=60)


def more_descriptors():
    """10,000 connections need more than the usual limit; everything that is started inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(hard, DESCRIPTORS)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def versions(tools, names):
    """{program: version}."""
    asked = {"nghttpx": ["--version"], "haproxy": ["-v"], "nginx": ["-v"], "envoy": ["--version"], "caddy": ["version"],
             "sozu": ["--version"]}
    found = {name: version([path, "--version"]) + commit(path) for name, path in tools.ours.items()}
    for name in names:
        argv = tools.built(name) if name in ("envoy", "sozu") else tools.packaged(name)
        if name in asked and argv:
            found[name] = version([*(argv[-1:] if name == "caddy" else argv), *asked[name]])
        elif name == "pingora" and tools.built("pingora-ref"):
            found[name] = locked("pingora")
    found["h2load"] = version([*tools.packaged("h2load"), "--version"])
    return found


def version(argv):
    """The first number with dots in what a program says of itself."""
    found = re.search(r"\d+\.\d+[\w.+-]*", output(argv, 20, errors=True))
    return found[0] if found else "?"


def locked(package):
    """The version that a lock file names, of a library that does not say it itself."""
    lock = HERE / "pingora/Cargo.lock"
    found = lock.exists() and re.search(rf'name = "{package}"\nversion = "(.*?)"', lock.read_text())
    return found[1] if found else "?"


def commit(path):
    """The commit of our own tree, if the build came from it."""
    if not path.is_relative_to(ROOT):
        return ""
    said = output(["git", "-C", ROOT, "describe", "--always", "--dirty"], 20).strip()
    return f", commit {said}" if said else ""


def describe():
    """The machine, now."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    uname = os.uname()
    return (f"{time.strftime('%Y-%m-%d %H:%M')}; {os.cpu_count()} cores, {model[1] if model else uname.machine}; "
            f"{uname.sysname} {uname.release}; load average {load_average()}")


def load_average():
    return f"{os.getloadavg()[0]:.1f}"
