"""What people do before the camera: repetitions counted aloud, and the start and the stop of an action."""

from __future__ import annotations

from tml_lab.worlds.families.seeing import small_talk
from tml_lab.worlds.lexicon import NUMBERS, contrast_set
from tml_lab.worlds.seen.actions import ACTIONS, Span
from tml_lab.worlds.seen.capture import CLIPS
from tml_lab.worlds.seen.scene import Person
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings_seen import COUNTED, DO, DOES

ENDED = 0.1  # seconds after which the end of a repetition is plain
BEGUN = 0.25  # the same of the beginning of an action, and of its end
CLIP = 30.0  # seconds of a test scene
MOST = 20  # repetitions: what the model can count to


def others_to(action: str) -> list[str]:
    """Actions that the same person can do besides."""
    return [name for name, kind in ACTIONS.items() if name != action and kind.lies == ACTIONS[action].lies]


def draw_reps(
    stage: Stage, action: str, start: float, n: int, gap: float = 0.6, longer: float = 1.0
) -> list[Span]:
    """`n` repetitions from `start` on, in a tempo of their own and none like the other, with gaps up to `gap`."""
    low, high = ACTIONS[action].seconds
    tempo = longer * float(stage.rng.uniform(low, high))
    reps = []
    for _ in range(n):
        length = max(0.8, tempo * float(stage.rng.uniform(0.8, 1.25)))
        reps.append(Span(start, start + length))
        start += length + float(stage.rng.uniform(0, gap)) * stage.chance(0.5)
    return reps


def play_captured(stage: Stage) -> None:
    """Tests only: jumps, kicks or punches of somebody real, whose movements were captured."""
    play_count(stage, tuple(CLIPS), real=True)


def how_many(stage: Stage) -> int:
    """3 to 20, each as likely, in a test; in training mostly few, so that an hour holds more of them."""
    if stage.split != "train":
        return int(stage.rng.integers(3, MOST + 1))
    return int(stage.rng.integers(1, 8)) if stage.chance(0.75) else int(stage.rng.integers(8, MOST + 1))


def play_count(stage: Stage, actions: tuple[str, ...] = tuple(ACTIONS), real: bool = False) -> None:
    """Repetitions of one action in several bouts; each number when one is done. Other actions are not counted."""
    action = stage.pick(actions)
    person = stage.watch().person(action)
    person.real = real
    stage.ask("count_actions", x=COUNTED[action])
    stage.wait(0.6, 2.0)
    stage.perhaps_lull()
    left = how_many(stage)
    counted = 0
    while left:
        bout = min(left, int(stage.rng.integers(2, 9)))
        reps = draw_reps(stage, action, stage.now, bout, longer=1.5 if real else 1.0)
        person.do(action, reps)
        for rep in reps:
            counted += 1
            word = NUMBERS[counted]
            stage.reply((word,), rep.end, "cue", margin=ENDED, contrast=contrast_set(word))
        left -= bout
        stage.now = reps[-1].end
        stage.wait(0.8, 2.0)
        if left or stage.chance(0.3):
            something_else(stage, person, action)
    small_talk(stage, 0.3)


def something_else(stage: Stage, person: Person, action: str) -> None:
    """A breather, small talk, or another action that is not asked for."""
    if others_to(action) and stage.chance(0.35):
        other = stage.pick(others_to(action))
        reps = draw_reps(stage, other, stage.now + 0.4, int(stage.rng.integers(1, 3)))
        person.do(other, reps)
        stage.now = reps[-1].end + 0.4
    small_talk(stage, 0.25)


def play_start_stop(stage: Stage) -> None:
    """Stretches of two to eight seconds of an action: `start` when it begins, `stop` when it is over.

    In a test one, anywhere in a clip of 30 seconds; in training one to four.
    """
    action = stage.pick(list(ACTIONS))
    person = stage.watch().person(action)
    stage.ask("start_stop", x=DOES[action])
    stage.wait(0.8, 3.0)
    test = stage.split != "train"
    for _ in range(1 if test else 1 + stage.chance(0.4) + stage.more()):
        if stage.chance(0.3):
            something_else(stage, person, action)
        stage.perhaps_lull()
        seconds = float(stage.rng.uniform(2.0, 8.0))
        if test:
            stage.now = float(stage.rng.uniform(stage.now, CLIP - seconds - 3.0))
        span = go_on(stage, person, action, seconds)
        others = contrast_set("zero")[:10]
        stage.reply(("start",), span.start, "cue", margin=BEGUN, contrast=("stop", *others))
        stage.reply(("stop",), span.end, "cue", margin=BEGUN, contrast=("start", *others))
        stage.now = span.end
        stage.wait(1.2, 3.0)
    if test:
        stage.now = CLIP - 1.0  # a second is added when the scene is finished


def play_how_long_seen(stage: Stage) -> None:
    """Somebody does something for one to nine seconds; afterwards it is asked for how long, in whole seconds."""
    action = stage.pick(list(DO))
    person = stage.watch().person(action)
    stage.wait(0.5, 1.5)
    for _ in range(1 + stage.more()):
        span = keep_up(stage, person, action, int(stage.rng.integers(1, 10)) + float(stage.rng.uniform(-0.25, 0.25)))
        stage.now = span.end
        stage.wait(0.6, 1.2)
        end = stage.ask("how_long_seen", None, x=DO[action])
        seconds = max(1, round(span.end - span.start))
        gold = (NUMBERS[seconds], "second" if seconds == 1 else "seconds")
        others = tuple(w for w in NUMBERS[:11] if w != NUMBERS[seconds])
        stage.reply(gold, end, "answer", margin=SETTLED, contrast=others)
        stage.after_reply(0.6, 1.2)


def keep_up(stage: Stage, person: Person, action: str, seconds: float) -> Span:
    """The action for exactly so long: repetitions of one length each, or one that is held."""
    span = Span(stage.now, stage.now + max(0.8, seconds))
    if action == "raised hand":
        person.do(action, [span], hold=max(0.0, 1 - 0.6 / (span.end - span.start)))
        return span
    n = max(1, round((span.end - span.start) / 1.0))
    step = (span.end - span.start) / n
    person.do(action, [Span(span.start + i * step, span.start + (i + 1) * step) for i in range(n)])
    return span


def go_on(stage: Stage, person: Person, action: str, seconds: float) -> Span:
    """The person keeps doing the action for about so long; returns the true interval."""
    start = stage.now + 0.3
    if action == "raised hand":
        span = Span(start, start + seconds)
        person.do(action, [span], hold=1 - 1.2 / seconds)
        return span
    reps = draw_reps(stage, action, start, 12, gap=0.0)
    kept = [rep for rep in reps if rep.end <= start + seconds] or reps[:1]
    person.do(action, kept)
    return Span(start, kept[-1].end)
