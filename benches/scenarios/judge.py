"""What a run says about a proxy: computed from what clients got and what instances wrote down, exactly."""
from service import Sightings

# Who was named this long before a request began, in micros, is known to a proxy that listens.
GRACE = 100_000
# Part of its fair share that an instance must have again to be called recovered.
RECOVERED = 0.7
SECOND = 1_000_000


def judge(said, service, stage, is_post, first, is_hasty):
    """One row of the report. Hasty clients give up by their own will; others only when nobody answers."""
    saw = Sightings(service.all)
    for numbers in (saw.by_number, saw.taken):
        for number in [number for number in numbers if number < first]:
            del numbers[number]
    counts = {"router_made": 0, "post_unseen": 0, "post_failed": 0, "truncated": 0, "gave_up": 0, "hopeless": 0}
    examples = []
    for failure in said["failures"]:
        kind = kind_of(failure, saw, service, is_hasty)
        counts[kind] += 1
        if kind == "router_made" and len(examples) < 5:
            examples.append(f"{failure['what']}: {failure['detail']}".strip(": "))
    attempts, late = stage.knocks.counted()
    return counts | {
        "requests": said["requests"], "failed": said["failed"], "resent": said["resent"],
        "post_twice": len(saw.twice(is_post)), "p99": said["p99"], "slowest": said["slowest"],
        "tries": saw.tries() / max(1, len(saw.by_number)), "knocks": attempts, "late_knocks": late,
        "recovery": recovery(stage.backs, saw, service, stage.ended), "watched": stage.watched,
        "examples": sorted(set(examples)),
    }


def kind_of(failure, saw, service, is_hasty):
    """Whose fault it is that a client got no good answer."""
    if failure["what"] == "truncated" or failure["what"] == "gave_up" and is_hasty:
        return failure["what"]
    sent_to = saw.by_number.get(failure["number"], [])
    begun, ended = failure["began"], failure["ended"]
    could = any(one.is_well(begun, ended) and one.is_known(begun - GRACE, ended) and one.name not in sent_to
                for one in service.all)
    if not could:
        return "hopeless"
    if not failure["post"]:
        return "router_made"
    return "post_failed" if sent_to else "post_unseen"


def recovery(backs, saw, service, ended):
    """Seconds until an instance that is back, or new, has its share again; None if it never had in time."""
    worst = 0 if backs else None
    for one, at in backs:
        begin = at
        while begin + SECOND <= ended:
            rivals = [other for other in service.all if other.is_known(begin, begin + SECOND)]
            total = sum(saw.count(other.name, begin, begin + SECOND) for other in rivals)
            if total and saw.count(one.name, begin, begin + SECOND) >= RECOVERED * total / len(rivals):
                break
            begin += SECOND // 4
        else:
            return float("inf")
        worst = max(worst, (begin - at) / SECOND)
    return worst


def is_clean(row):
    """Whether a proxy passes: not a single error of its own, and no POST done twice."""
    return "failure" not in row and not (row["router_made"] or row["post_twice"])
