"""What Pointsman has to reach, and what would be remarkable: ratios of medians of the same run."""
import report

# Scenario, what is compared, with whom, must, moonshot. All are upper bounds.
GOALS = [
    *(("S1", "micros", peer, 0.40, 0.15) for peer in ("haproxy", "nginx", "envoy")),
    ("S1", "micros", "nghttpx", 1.30, 0.45),
    *(("S1r", "micros", peer, 0.90, 0.55) for peer in ("nginx", "haproxy")),
    *(("S1r", "p50 over direct", peer, 1.0, 0.6) for peer in ("nginx", "haproxy")),
    ("S2", "micros", "nghttpx", 1.30, 0.50),
    ("S3", "micros", "nginx", 0.95, 0.80),
    ("S4", "micros", "nginx", 1.60, 0.95),
    ("S5", "micros", "the best peer", 0.75, 0.65),
    ("S6", "each", "envoy", 1.30, 0.40),
    ("S7", "memory", "nginx", 0.50, 0.20),
    ("S7c", "control us/change", "a renewal", 100, 20),
    ("S7c", "control us/change with the registry's API", None, 100, 20),
    ("S7c", "p99 with changes", "p99 without", 1.05, 1.0),
    ("S8", "CPU, two cores", "one core", 1.10, 1.03),
    ("S9", "most connections of 8 on a core", None, 5, 4),
]
WORDS = {"micros": "CPU", "each": "memory of an idle connection, of 10,000", "memory": "memory"}


def section(results, build):
    """The last table, for one build of ours."""
    lines = []
    for name, what, other, must, moonshot in GOALS:
        figure = measured(results, build, name, what, other)
        met = "not measured" if figure is None else "moonshot" if figure <= moonshot else "yes" if figure <= must else "no"
        lines.append([name, WORDS.get(what, what), other or "-", f"{must:g}", f"{moonshot:g}",
                      "-" if figure is None else f"{figure:.2f}", met])
    head = ["scenario", "what", "against", "must", "moonshot", "figure", "met"]
    return f"## Goals: {build}\n\n{report.table(head, lines)}\n"


def measured(results, build, name, what, other):
    rows = results.of(name)
    ours = [row for row in rows if row["peer"] == build]
    if name in SPECIAL:
        return SPECIAL[name](ours, what)
    if what == "each":
        rows = [row for row in rows if row["connections"] == 10_000 and row["held"] >= 9_990]
        ours = [row for row in rows if row["peer"] == build]
    peers = report.by_peer(rows)
    if what == "p50 over direct":
        base = report.median(peers.get("direct", []), "p50")
        both = [report.median(some, "p50") for some in (ours, peers.get(other, []))]
        return ratio(*(value - base for value in both)) if base and all(both) else None
    builds = (results.about(name) or {}).get("ours", [])
    against = report.best(rows, what, builds) if other == "the best peer" else report.median(peers.get(other, []), what)
    return ratio(report.median(ours, what), against)


def changes(rows, what):
    of = {doing: [row for row in rows if row["doing"] == doing] for doing in ("nothing", "changes")}
    if what.startswith("control us/change"):
        return report.median(of["changes"], "each" if "API" in what else "above")
    parts = (of["changes"], of["nothing"])
    return ratio(*(report.median(part, "p99") for part in parts))


def scaling(rows, _):
    return ratio(*(report.median([row for row in rows if row["threads"] == threads], "micros") for threads in (2, 1)))


def spread(rows, _):
    return max(report.values(rows, "most"), default=None)


SPECIAL = {"S7c": changes, "S8": scaling, "S9": spread}


def ratio(figure, against):
    return figure / against if figure is not None and against else None
