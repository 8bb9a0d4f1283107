"""What is seen calls for words: things that appear and change, questions about them, writing, a warning."""

from __future__ import annotations

from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import COLOURS, DAYS, FILLER_SENTENCES, LEAD, NUMBERS, THINGS, contrast_set
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.scene import other_colour
from tml_lab.worlds.seen.things import Thing
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings_seen import MANY, SEEN_WORDINGS

SEEN = 0.12  # seconds that a change must have been in view before it counts as seen
LASTS = 2.0  # seconds for which a change is news, at least
ALWAYS = 1e4  # seconds: longer than any scene
PLACES = ((28, 40), (80, 34), (132, 42), (30, 88), (82, 92), (130, 86))  # pixels where a thing has room


def looks(colour: str, kind: str) -> tuple[str, ...]:
    """What else could have been said of a thing than its own colour and kind."""
    return tuple(w for w in (*COLOURS, *THINGS) if w not in (colour, kind))


def pick_look(stage: Stage, *taken: str) -> tuple[str, str]:
    """A colour that is not taken, and a kind of thing."""
    return other_colour(stage.rng, *taken), stage.pick(THINGS)


def somewhere(stage: Stage) -> tuple[float, float]:
    """Where a thing comes: one of `PLACES`; in half of training's cases anywhere, since a patch's seam is a hard place
    to be made out in, and its middle an easy one."""
    if stage.split == "train" and stage.chance(0.5):
        return float(stage.rng.uniform(20, 140)), float(stage.rng.uniform(20, 100))
    return stage.pick(PLACES)


def small_talk(stage: Stage, chance: float) -> None:
    """The user says something that asks for nothing, unless this is a quiet scene; a little time passes."""
    if not stage.quiet and stage.chance(chance):
        stage.say(fragment(stage) if stage.chance(0.6) else stage.pick(FILLER_SENTENCES))
    stage.wait(0.5, 1.8)


def play_appears(stage: Stage) -> None:
    """Things come into view and go, one to five of them: the colour and the kind of each."""
    scene = stage.watch()
    stage.ask("what_appears")
    stage.wait(0.6, 2.0)
    for _ in range(int(stage.rng.integers(1, 5)) + stage.more()):
        stage.perhaps_lull()
        colour, kind = pick_look(stage)
        span = Span(stage.now, stage.now + float(stage.rng.uniform(1.5, 4.5)))
        scene.thing(kind, colour, span, *somewhere(stage))
        until = max(span.end, span.start + LASTS)
        stage.reply((colour, kind), span.start, "cue", margin=SEEN, contrast=looks(colour, kind), until=until)
        stage.now = max(stage.now, (stage.free_turn + 1) * 0.2)
        small_talk(stage, 0.25)


def play_new_colour(stage: Stage) -> None:
    """A thing in view takes another colour two to six times; others only move."""
    scene = stage.watch()
    colour, kind = pick_look(stage)
    first, second = stage.rng.choice(len(PLACES), 2, replace=False)
    thing = scene.thing(kind, colour, Span(0.0, ALWAYS), *PLACES[first])
    if stage.chance(0.5):
        colour_of_other, kind = pick_look(stage, colour)
        scene.thing(kind, colour_of_other, Span(0.0, ALWAYS), *PLACES[second])
    stage.ask("new_colour")
    stage.wait(0.6, 2.0)
    for _ in range(int(stage.rng.integers(1, 6)) + stage.more()):
        stage.perhaps_lull()
        if stage.chance(0.3):  # something else happens
            scene.move(thing, stage.now, 0.8, *stage.rng.uniform(-15, 15, 2))
            stage.wait(0.8, 1.6)
        colour = other_colour(stage.rng, colour)
        scene.recolour(thing, colour, stage.now)
        stage.reply((colour,), stage.now, "cue", margin=SEEN, contrast=contrast_set(colour), until=stage.now + LASTS)
        stage.now = max(stage.now, (stage.free_turn + 1) * 0.2)
        small_talk(stage, 0.25)


def play_which_way(stage: Stage) -> None:
    """A thing goes left, right, up or down, three to seven times; another one may move too, and does not count."""
    scene = stage.watch()
    (colour, kind), other = pick_look(stage), pick_look(stage)
    thing = scene.thing(kind, colour, Span(0.0, ALWAYS), 80, 62, size=11)
    left, up = 0, 0  # steps from the middle
    stranger = None
    if stage.chance(0.4) and other[1] != kind:
        stranger = scene.thing(other[1], other[0], Span(0.0, ALWAYS), 24, 96, size=9)
    stage.ask("which_way", None, x=kind)
    stage.wait(0.6, 2.0)
    for _ in range(int(stage.rng.integers(2, 6)) + stage.more()):
        stage.perhaps_lull()
        if stranger is not None and stage.chance(0.4):
            scene.move(stranger, stage.now, 0.6, *stage.rng.uniform(-12, 12, 2))
            stage.wait(0.8, 1.4)
        free = [w for w, ok in (("left", left < 1), ("right", left > -1), ("up", up < 1), ("down", up > -1)) if ok]
        way = stage.pick(free)
        dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[way]
        left, up = left - dx, up - dy
        seconds = float(stage.rng.uniform(0.4, 0.9))
        scene.move(thing, stage.now, seconds, 38.0 * dx, 32.0 * dy)
        stage.reply((way,), stage.now, "cue", margin=SEEN + 0.25, contrast=contrast_set(way))
        stage.now = max(stage.now + seconds, (stage.free_turn + 1) * 0.2)
        small_talk(stage, 0.2)


def play_warn(stage: Stage) -> None:
    """The user talks on while things come and go: `careful` at those that are like the one named."""
    scene = stage.watch()
    colour, kind = pick_look(stage)
    stage.ask("warn", x=f"{colour} {kind}")
    stage.wait(0.6, 1.4)
    for _ in range(int(stage.rng.integers(2, 6)) + stage.more()):
        feared = stage.chance(0.45)
        look = (colour, kind) if feared else pick_look(stage, colour)
        if not feared and stage.chance(0.5):  # nearly the one named
            look = (colour, stage.pick([k for k in THINGS if k != kind]))
        start = stage.now + float(stage.rng.uniform(0.2, 1.2))
        scene.thing(look[1], look[0], Span(start, start + float(stage.rng.uniform(1.0, 3.0))), *somewhere(stage))
        if feared:
            stage.reply(("careful",), start, "cue", margin=SEEN, contrast=("start", *NUMBERS[:11]))
        while stage.now < start + 0.8:
            small_talk(stage, 0.8)


def play_read(stage: Stage) -> None:
    """Words, days, colours or numbers stand on the screen one after the other: each is read once."""
    scene = stage.watch()
    stage.ask("read")
    stage.wait(0.6, 2.0)
    pool = stage.pick((NUMBERS, NUMBERS[:11], COLOURS, DAYS))
    for _ in range(int(stage.rng.integers(2, 6)) + stage.more()):
        stage.perhaps_lull()
        word = stage.pick(pool)
        text = str(NUMBERS.index(word)) if word in NUMBERS and stage.chance(0.5) else word
        span = Span(stage.now, stage.now + float(stage.rng.uniform(1.0, 2.5)))
        scene.write(text, span)
        until = max(span.end, span.start + LASTS)
        stage.reply((word,), span.start, "cue", margin=SEEN, contrast=contrast_set(word), until=until)
        stage.now = max(span.end, (stage.free_turn + 1) * 0.2)
        small_talk(stage, 0.2)


def put_things(stage: Stage, n: int) -> list[tuple[Thing, str, str, int]]:
    """`n` things in places of their own, some of a kind: (thing, colour, kind, place), there from the beginning."""
    scene = stage.watch()
    places = stage.rng.choice(len(PLACES), n, replace=False)
    found, taken = [], []
    for place in places:
        colour, kind = pick_look(stage, *taken)
        taken.append(colour)
        found.append((scene.thing(kind, colour, Span(0.0, ALWAYS), *PLACES[place]), colour, kind, int(place)))
    return found


def play_look(stage: Stage) -> None:
    """One to three questions about what is in view: a colour, a kind, how many, on which side."""
    found = put_things(stage, int(stage.rng.integers(1, 6)))
    stage.wait(0.4, 1.5)
    for _ in range(int(stage.rng.integers(1, 4)) + stage.more()):
        text, answer, contrast = look_question(stage, found)
        end = stage.put(text)
        stage.reply((answer,), end, "answer", margin=SETTLED, contrast=contrast, lead=LEAD)
        stage.after_reply(0.4, 1.4)
        small_talk(stage, 0.15)


def look_question(stage: Stage, found: list[tuple[Thing, str, str, int]]) -> tuple[str, str, tuple[str, ...]]:
    """A question with one right answer: (text, answer, what else could be said)."""
    kinds = [kind for _, _, kind, _ in found]
    single = [f for f in found if kinds.count(f[2]) == 1]
    sides = [f for f in single if f[3] % 3 != 1]  # left or right, not in the middle
    way = stage.pick(("how_many", "seen_thing", *(("seen_colour",) if single else ()), *(("where",) if sides else ())))
    if way == "how_many":
        kind = stage.pick((*THINGS, "things"))
        n = len(found) if kind == "things" else kinds.count(kind)
        text = stage.pick(SEEN_WORDINGS[way]).format(x=MANY.get(kind, kind))
        return text, NUMBERS[n], tuple(w for w in NUMBERS[:11] if w != NUMBERS[n])
    _, colour, kind, place = stage.pick({"seen_thing": found, "where": sides}.get(way, single))
    text = stage.pick(SEEN_WORDINGS[way]).format(x=colour if way == "seen_thing" else kind)
    answer = {"seen_thing": kind, "seen_colour": colour, "where": "left" if place % 3 == 0 else "right"}[way]
    return text, answer, contrast_set(answer) if way == "where" else looks(answer, "")


def play_before(stage: Stage) -> None:
    """Something was in view and is gone; its colour is asked for some seconds later."""
    scene = stage.watch()
    stage.wait(0.4, 1.0)
    shown: list[tuple[str, str]] = []
    for kind in stage.rng.choice(THINGS, int(stage.rng.integers(1, 3)), replace=False):
        colour = other_colour(stage.rng, *(c for c, _ in shown))
        span = Span(stage.now, stage.now + float(stage.rng.uniform(1.2, 3.0)))
        scene.thing(str(kind), colour, span, *somewhere(stage))
        shown.append((colour, str(kind)))
        stage.now = span.end
        small_talk(stage, 0.3)
    stage.perhaps_lull()
    colour, kind = stage.pick(shown)
    end = stage.ask("colour_before", x=kind)
    stage.reply((colour,), end, "answer", margin=SETTLED, contrast=contrast_set(colour), lead=LEAD)
    stage.after_reply(0.3, 1.0)


def play_watch(stage: Stage) -> None:
    """Much to see and nobody who asks: nothing is said."""
    scene = stage.watch()
    person = scene.person(stage.pick(("wave", "clap", "jumping jack", "squat")))
    (colour, kind), thing = pick_look(stage), None
    if stage.chance(0.5):
        thing = scene.thing(kind, colour, Span(0.0, ALWAYS), *somewhere(stage))
    for _ in range(int(stage.rng.integers(2, 5))):
        if thing is not None and stage.chance(0.5):  # what others are asked to tell of
            if stage.chance(0.4):
                colour = other_colour(stage.rng, colour)
                scene.recolour(thing, colour, stage.now)
            else:
                scene.move(thing, stage.now, 0.6, *stage.rng.uniform(-35, 35, 2))
        elif stage.chance(0.4):
            other, kind = pick_look(stage)
            scene.thing(kind, other, Span(stage.now, stage.now + 2.0), *somewhere(stage))
        elif stage.chance(0.3):
            scene.write(stage.pick(NUMBERS), Span(stage.now, stage.now + 1.5))
        else:
            person.do(stage.pick(("wave", "clap", "raised hand")), [Span(stage.now, stage.now + 1.4)])
        stage.wait(1.6, 2.4)
        small_talk(stage, 0.5)
