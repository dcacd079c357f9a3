"""The tables, in Markdown."""
import statistics

import scenarios

# Shown with a star: not peers, so never the best of them.
REFERENCES = {"direct"}


def values(rows, key):
    return [row[key] for row in rows if row.get(key) is not None]


def median(rows, key):
    found = values(rows, key)
    return statistics.median(found) if found else None


def spread(rows, key, digits=0, factor=1):
    """`median (smallest-largest)`."""
    found = [value * factor for value in values(rows, key)]
    if not found:
        return "-"
    low, mid, high = min(found), statistics.median(found), max(found)
    return f"{mid:,.{digits}f}" + (f" ({low:,.{digits}f}-{high:,.{digits}f})" if len(found) > 1 else "")


def by_peer(rows):
    """Rows of each peer, in the order they were measured."""
    found = {}
    for row in rows:
        found.setdefault(row["peer"], []).append(row)
    return found


def best(rows, key, ours):
    """The best real peer's median."""
    real = {name: some for name, some in by_peer(rows).items() if name not in REFERENCES and name not in ours}
    return min((found for some in real.values() if (found := median(some, key))), default=None)


def table(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def forwarding(rows, scenario, ours):
    """CPU first, the cheapest on top."""
    unit, rated = scenario.unit, bool(scenario.rate)
    head = ["peer", "to backends", f"CPU us/{unit}", "ratio to the best peer", f"{unit}/s" if unit == "MiB" else f"{unit}s/s"]
    head += ["p50 us", "p99 us", "p50 over direct"] if rated else []
    head += ["load core busy", "failed"] + (["resumed"] if scenario.resume else [])
    lowest = best(rows, "micros", ours)
    direct = median(by_peer(rows).get("direct", []), "p50")
    lines = []
    for name, some in sorted(by_peer(rows).items(), key=lambda one: median(one[1], "micros") or 1e9):
        micros, p50 = median(some, "micros"), median(some, "p50")
        line = [name + ("*" if name in REFERENCES else ""), some[0]["up"], spread(some, "micros", 1)]
        line += [f"{micros / lowest:.2f}" if micros and lowest else "-", spread(some, "per_second")]
        if rated:
            line += [spread(some, "p50"), spread(some, "p99"), f"{p50 - direct:,.0f}" if p50 and direct else "-"]
        line += [f"{(median(some, 'load_busy') or 0):.0%}", sum(values(some, "failed"))]
        if scenario.resume:
            line.append(f"{sum(values(some, 'resumed')) / max(1, sum(values(some, 'ok'))):.0%}")
        lines.append(line)
    return table(head, lines)


def idle(rows, *_):
    head = ["peer", "connections", "held", "MiB without", "MiB with", "KiB/connection", "idle CPU ms/s"]
    return table(head, [[
        row["peer"], f"{row['connections']:,}", f"{row['held']:,}", f"{row['base'] / 2**20:.1f}",
        f"{row['total'] / 2**20:.1f}", f"{row['each'] / 1024:.1f}", f"{row['idle_cpu'] * 1e3:.1f}"] for row in rows])


def services(rows, *_):
    head = ["peer", "MiB", "CPU s to start", "s until it listens"]
    return table(head, [[row["peer"], f"{row['memory'] / 2**20:.1f}", f"{row['cpu']:.2f}", f"{row['wall']:.2f}"]
                        for row in rows])


def changes(rows, *_):
    head = ["build", "meanwhile", "p50 us", "p99 us", "CPU us/request", "control us each", "above a renewal",
            "other threads us each", "published after us", "each second"]
    lines = []
    for name, some in by_peer(rows).items():
        for doing in ("nothing", "renewals", "changes"):
            part = [row for row in some if row["doing"] == doing]
            rate = [row["registrations"] / row["wall"] for row in part if "registrations" in row]
            lines.append([
                name, doing, spread(part, "p50"), spread(part, "p99"), spread(part, "micros", 1),
                spread(part, "each", 1), spread(part, "above", 1), spread(part, "others_each", 1), spread(part, "publish", 1, 1e6),
                f"{statistics.median(rate):.0f}" if rate else "-"])
    return table(head, lines)


def scaling(rows, *_):
    head = ["build", "data cores", "CPU us/request", "ratio", "requests/s", "p50 us", "failed"]
    lines = []
    for name, some in by_peer(rows).items():
        parts = {threads: [row for row in some if row["threads"] == threads] for threads in (1, 2)}
        one = median(parts[1], "micros")
        for threads, part in parts.items():
            micros = median(part, "micros")
            lines.append([name, threads, spread(part, "micros", 1), f"{micros / one:.2f}" if micros and one else "-",
                          spread(part, "per_second"), spread(part, "p50"), sum(values(part, "failed"))])
    return table(head, lines)


def cores(rows, *_):
    head = ["build", "repetition", "CPU shares of the cores", "connections, by that", "failed"]
    return table(head, [[
        row["peer"], row["repetition"] + 1, " / ".join(f"{share:.0%}" for share in row["shares"]),
        " + ".join(str(round(share * 8)) for share in row["shares"]), row.get("failed", "-")] for row in rows])


TABLES = {"S6": idle, "S7": services, "S7c": changes, "S8": scaling, "S9": cores}


def head(results):
    """The machine and the programs of all that was measured, the newest word on each."""
    abouts = sorted((row for row in results.rows if "about" in row), key=lambda row: row["at"])
    versions = {name: version for about in abouts for name, version in about["versions"].items()}
    machine = abouts[-1]["machine"] if abouts else "Nothing was measured."
    return "\n".join([machine, "", *(f"- {name}: {version}" for name, version in versions.items()), ""])


def section(results, name):
    """One scenario: what it is, when it was measured, its table."""
    rows, about = results.of(name), results.about(name) or {}
    scenario = scenarios.ALL[name]
    title = f"## {name}: {scenario.what}"
    told = [f"{about.get('at', '')}; load average {about.get('load_before', '-')} before and "
            f"{about.get('load_after', '-')} after; {about.get('seconds', '-')} s a repetition. "
            "Medians (smallest-largest)."]
    told += [f"{note}." for note in about.get("notes", [])]
    shown = TABLES.get(name, forwarding)(rows, scenario, about.get("ours", [])) if rows else "Nothing was measured."
    return "\n".join([title, "", *told, "", shown, ""])
