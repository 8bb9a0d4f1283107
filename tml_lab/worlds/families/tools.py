"""What the model does not know itself and asks the background model for: sums too large, units, the clock, lists.

The request is written (`<delegate> calculator twelve times fourteen`), the result comes back as typed text after a
while (`calculator one hundred sixty eight`), and is said when the user is not talking. Meanwhile the talk goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from tml_lab.model.text import number_words
from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import LEAD, NUMBERS, THINGS_TO_BUY
from tml_lab.worlds.stage import SETTLED, Stage

DONE, FAILED = "done", "failed"
PER = {("hours", "minutes"): 60, ("minutes", "seconds"): 60, ("weeks", "days"): 7, ("days", "hours"): 24}


@dataclass(frozen=True)
class Task:
    """A request of the user's: in which wording, what is asked of which tool, and what comes back."""

    wording: str
    slots: dict[str, str]
    request: str
    result: str

    @property
    def tool(self) -> str:
        """The request's first word."""
        return self.request.split()[0]


def draw_task(stage: Stage) -> Task:
    """A sum, a product, a unit, the time, something for the list, a timer."""
    kind = stage.rng.uniform()
    if kind < 0.3:
        a, b = (int(v) for v in stage.rng.integers(3, 21, 2))
        slots = {"a": number_words(a), "b": number_words(b)}
        return Task("times", slots, f"calculator {slots['a']} times {slots['b']}", number_words(a * b))
    if kind < 0.5:
        a, b = (int(v) for v in stage.rng.integers(21, 100, 2))
        slots = {"a": number_words(a), "b": number_words(b)}
        return Task("plus", slots, f"calculator {slots['a']} plus {slots['b']}", number_words(a + b))
    if kind < 0.7:
        units = stage.pick(list(PER))
        n = int(stage.rng.integers(2, 17))
        slots = {"n": number_words(n), "x": units[0], "y": units[1]}
        return Task("convert", slots, f"convert {slots['n']} {units[0]} to {units[1]}", number_words(n * PER[units]))
    if kind < 0.8:
        hour, minute = int(stage.rng.integers(1, 13)), int(stage.rng.integers(1, 60))
        return Task("time", {}, "clock", f"{number_words(hour)} {number_words(minute)}")
    if kind < 0.9:
        thing = stage.pick(THINGS_TO_BUY)
        return Task("list", {"x": thing}, f"list add {thing}", DONE)
    n = number_words(int(stage.rng.integers(1, 31)))
    return Task("timer", {"n": n}, f"timer {n} minutes", DONE)


def reply_to(task: Task, result: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is said of a result: (lead, words)."""
    if result == FAILED:
        return (), ("sorry", "i", "cannot")
    return ((), ("okay",)) if result == DONE else (LEAD, tuple(result.split()))


def play_tools(stage: Stage) -> None:
    """One to three things to be asked for; now and then the second before the first has come back, or a tool fails."""
    for _ in range(int(stage.rng.integers(1, 3)) + stage.more()):
        tasks = [draw_task(stage)]
        if stage.chance(0.2):
            tasks.append(draw_task(stage))
            if tasks[1].tool == tasks[0].tool:  # what comes back must be told apart
                tasks.pop()
        asked = []
        for task in tasks:
            end = stage.ask(task.wording, None, **task.slots)
            stage.delegate(task.request, end)
            asked.append(stage.now)
            stage.wait(0.3, 0.9)
        for task in tasks:
            bring_back(stage, task)
        stage.after_reply(0.4, 1.4)


def bring_back(stage: Stage, task: Task) -> None:
    """The result arrives, perhaps while the user talks, and is said when nobody does."""
    result = FAILED if stage.chance(0.08) else task.result
    arrives = stage.now + float(stage.rng.uniform(0.2, 2.5))
    while stage.chance(0.35):
        stage.say(fragment(stage))
        stage.wait(0.2, 0.7)
    turn = stage.result(f"{task.tool} {result}", max(arrives, stage.now - 0.5))
    quiet = max((s.end for s in stage.segments if s.role == "user"), default=0.0)
    lead, words = reply_to(task, result)
    contrast = tuple(w for w in NUMBERS[:11] if w not in words)
    stage.reply(words, max((turn + 1) * 0.2 - 0.2, quiet), "answer", margin=SETTLED, contrast=contrast, lead=lead)
    stage.now = max(stage.now, (stage.free_turn + 1) * 0.2)
