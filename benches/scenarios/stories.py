"""The scenarios: what happens to the service while clients send requests. One function each; `stage.length` is how long
the requests take, in seconds, and everything is paced by it."""
import time
from dataclasses import dataclass


@dataclass
class Story:
    """One scenario."""
    name: str
    what: str
    play: "Callable"
    instances: int = 10
    patience: int = 30_000
    # Clients give up before anything is amiss.
    is_hasty: bool = False
    # A registry that is no part of the proxy is needed, to be lost.
    registry_is_lost: bool = False


def rolling(stage, end, count, missed):
    """One batch after the other: ended, withdrawn some time later, and others in their place that are told when ready."""
    service, batch = stage.service, max(1, count // 10)
    old = list(service.listed)
    pause = max(0.2, 0.8 * stage.length / (count / batch))
    for at in range(0, count, batch):
        begun = time.monotonic()
        leaving = old[at:at + batch]
        for one in leaving:
            end(one)
        for one in leaving:
            service.gone(one)
        time.sleep(min(missed, pause / 2))
        service.delist(*leaving)
        service.enlist(*service.start(len(leaving)))
        time.sleep(max(0, pause - (time.monotonic() - begun)))


def rolling_term(stage):
    rolling(stage, stage.service.term, len(stage.service.listed), 0.3)


def rolling_kill(stage):
    rolling(stage, stage.service.kill, len(stage.service.listed), 1.0)


def replacement(stage):
    """All at once in the registry; the old ones end a moment later."""
    service = stage.service
    for _ in range(3):
        time.sleep(stage.length / 5)
        old = list(service.listed)
        new = service.start(len(old))
        service.list(new)
        time.sleep(0.1)
        for one in old:
            service.term(one)


def late_goodbye(stage):
    """Each stops first and is withdrawn 50 ms later, again and again."""
    service, until = stage.service, time.monotonic() + 0.8 * stage.length
    while time.monotonic() < until:
        one = service.listed[0]
        service.kill(one)
        time.sleep(0.05)
        service.delist(one)
        service.enlist(*service.start(1))
        time.sleep(max(0.2, stage.length / 20))


def go_away(stage):
    """Every connection to an instance is told to go away after 20 requests."""
    for one in stage.service.listed:
        one.say("goaway 20")
    time.sleep(0.8 * stage.length)


def flapping(stage):
    """Two of ten fail their checks and leave the registry in every other second, and serve all the time."""
    service, until = stage.service, time.monotonic() + 0.8 * stage.length
    two = service.listed[:2]
    while time.monotonic() < until:
        for one in two:
            one.say("health off")
        service.delist(*two)
        time.sleep(min(1, stage.length / 10))
        for one in two:
            one.say("health on")
        service.enlist(*two)
        time.sleep(min(1, stage.length / 10))


def slow_start(stage):
    """Two cold ones join ten; for a third of the time they are slow and soon busy."""
    time.sleep(0.2 * stage.length)
    cold = stage.service.start(2, cold=stage.length / 3)
    stage.service.enlist(*cold)
    stage.back(cold[0])
    time.sleep(0.6 * stage.length)


def black_hole(stage):
    """One dies, and its address swallows connection attempts; it is back for the last third."""
    one = stage.service.listed[3]
    time.sleep(0.1 * stage.length)
    stage.service.blacken(one)
    stage.knocks.watch(one)
    time.sleep(0.5 * stage.length)
    stage.knocks.unwatch(one)
    stage.service.restart(one)
    stage.back(one)
    time.sleep(0.2 * stage.length)


def silence(stage):
    """One is silent, on open connections and to new ones; it is back for the last third."""
    one = stage.service.listed[3]
    time.sleep(0.1 * stage.length)
    stage.service.freeze(one)
    stage.knocks.watch(one)
    time.sleep(0.5 * stage.length)
    stage.knocks.unwatch(one)
    stage.service.thaw(one)
    stage.back(one)
    time.sleep(0.2 * stage.length)


def misbehave(stage, word):
    one = stage.service.listed[3]
    time.sleep(0.1 * stage.length)
    one.turns(well=False)
    one.say(word)
    time.sleep(0.5 * stage.length)
    one.say("well")
    one.turns(well=True)
    stage.back(one)
    time.sleep(0.2 * stage.length)


def half_gone(stage, registry_too=False):
    """Half of the service dies at once; the registry finds out late, or is gone itself."""
    service = stage.service
    time.sleep(0.2 * stage.length)
    if registry_too:
        stage.lose_registry()
    half = service.listed[::2]
    for one in half:
        service.kill(one)
    time.sleep(0.4 * stage.length)
    if registry_too:
        stage.find_registry()
    service.delist(*half)
    time.sleep(0.2 * stage.length)


ALL = {one.name: one for one in [
    Story("rolling-4-term", "4 instances restarted one by one, SIGTERM without warning", rolling_term, 4),
    Story("rolling-4-kill", "4 instances restarted one by one, SIGKILL; the registry finds out 1 s later", rolling_kill, 4),
    Story("rolling-50-term", "50 instances restarted five by five, SIGTERM without warning", rolling_term, 50),
    Story("rolling-50-kill", "50 instances restarted five by five, SIGKILL; the registry finds out 1 s later",
          rolling_kill, 50),
    Story("replacement", "all ten replaced in one update, three times; the old ones end 0.1 s later", replacement),
    Story("late-goodbye", "one after the other stops, and is withdrawn 50 ms later", late_goodbye),
    Story("goaway", "every connection to an instance is told to go away after 20 requests", go_away),
    Story("flapping", "two of ten fail their checks and leave the registry every other second, and serve", flapping),
    Story("slow-start", "two cold ones join ten: twenty times slower, four requests at once", slow_start),
    Story("black-hole", "one of ten dies and its address swallows SYNs; then it is back", black_hole),
    Story("silence", "one of ten is silent on open connections and to SYNs; clients give up after 1 s", silence,
          patience=1000, is_hasty=True),
    Story("slow", "one of ten is 50 times slower; then it is well again", lambda stage: misbehave(stage, "slow 250")),
    Story("failing", "one of ten answers 503 at once; then it is well again", lambda stage: misbehave(stage, "status 503")),
    Story("resetting", "one of ten resets every stream; then it is well again", lambda stage: misbehave(stage, "reset")),
    Story("half-gone", "half of ten are killed; the registry finds out late", half_gone),
    Story("half-gone-blind", "half of ten are killed and the registry is gone at the same time",
          lambda stage: half_gone(stage, registry_too=True), registry_is_lost=True),
]}
