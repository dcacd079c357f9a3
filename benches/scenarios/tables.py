"""The report: one table for all, then one for each scenario, in Markdown."""
from judge import is_clean

COLUMNS = [
    ("proxy", lambda r: r["proxy"]),
    ("requests", lambda r: f"{r['requests']:,}"),
    ("router-made errors", lambda r: f"{r['router_made']:,}"),
    ("POST never seen", lambda r: f"{r['post_unseen']:,}"),
    ("POST done twice", lambda r: f"{r['post_twice']:,}"),
    ("POST failed", lambda r: f"{r['post_failed']:,}"),
    ("truncated", lambda r: f"{r['truncated']:,}"),
    ("gave up", lambda r: f"{r['gave_up']:,}"),
    ("hopeless", lambda r: f"{r['hopeless']:,}"),
    ("p99 ms", lambda r: millis(r["p99"])),
    ("slowest ms", lambda r: millis(r["slowest"])),
    ("tries/request", lambda r: f"{r['tries']:.3f}"),
    ("SYNs to the hole (after 1 s)", lambda r: f"{r['knocks']} ({r['late_knocks']})" if r["watched"] else "-"),
    ("full share after s", lambda r: seconds(r["recovery"])),
]


def millis(micros):
    return "-" if micros is None else f"{micros / 1000:,.0f}"


def seconds(value):
    return "-" if value is None else "never" if value == float("inf") else f"{value:.1f}"


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def scenario(story, rows):
    """One scenario, a row for each proxy."""
    whole = [row for row in rows if "failure" not in row]
    shown = table([name for name, _ in COLUMNS], [[cell(row) for _, cell in COLUMNS] for row in whole])
    notes = [f"- {row['proxy']}: could not be measured: {row['failure']}" for row in rows if "failure" in row]
    notes += [f"- {row['proxy']}: {example}" for row in whole for example in row["examples"]]
    return "\n".join([f"#### {story.name}: {story.what}", "", shown, *notes, *([""] if notes else [])])


def summary(stories, rows):
    """Router-made errors of everybody in everything."""
    names = list(dict.fromkeys(row["proxy"] for row in rows))
    lines = []
    for story in stories:
        mine = {row["proxy"]: row for row in rows if row["scenario"] == story.name}
        lines.append([story.name, *(brief(mine.get(name)) for name in names)])
    totals = [[row for row in rows if row["proxy"] == name and "failure" not in row] for name in names]
    lines.append(["**all**", *(brief_total(some) for some in totals)])
    return table(["router-made errors / POST done twice / gave up / slowest ms", *names], lines)


def brief(row):
    if row is None or "failure" in row:
        return "-"
    return f"{row['router_made']:,} / {row['post_twice']:,} / {row['gave_up']:,} / {millis(row['slowest'])}"


def brief_total(rows):
    made, twice, gave_up = (sum(row[key] for row in rows) for key in ("router_made", "post_twice", "gave_up"))
    return f"**{made:,} / {twice:,} / {gave_up:,}** of {sum(row['requests'] for row in rows):,}"


def verdict(rows, judged):
    """(passed, in words)."""
    bad = [row for row in rows if row["proxy"] in judged and not is_clean(row)]
    words = [f"- {row['proxy']}, {row['scenario']}: " + (row.get("failure") or
             f"{row['router_made']:,} router-made errors, {row['post_twice']:,} POSTs done twice") for row in bad]
    passed = not bad
    return passed, "\n".join(["**passed**: no error that the proxy made" if passed else "**failed**", *words, ""])
