"""A summary in text turns: what still matters is typed in again, before the model cannot see it any more.

The rules are data: wordings the model was trained on, with `{x}` for one word, `{thing}` for two ("red ball") and
`{n}` for a number of seconds. What was told and what stands is typed again, in a wording of its rule, when it is so
many positions old and nothing is going on. When that is depends on how old it is: a reminder that is typed again goes
on with the time that is left, whenever it is due. While the model counts (to a reminder that it can still see, or
ticking) nothing is typed: one word in between, and the nano's reminder does not come.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from tml_lab.model.text import normalise_text, number_words
from tml_lab.stream.clock import TURNS_PER_SECOND
from tml_lab.stream.policy import SinksAndWindow

QUIET = 5  # turns without a word heard, said or typed, before something is typed
PAUSE = 4  # turns between two words that do not belong to one sentence
FEWEST = 5  # positions of a turn, at least
LONGEST = 16  # words of a sentence that are looked at
PATIENCE = 55  # turns that words of kind `pause` hold everything up: more than the nano's longest reminder
KINDS = ("told", "standing", "reminder", "hold", "pause", "cancel", "stop")
HOLDING = ("hold", "pause")
_NUMBERS = {number_words(n): n for n in range(100)}
_NUMBER = "|".join(sorted(_NUMBERS, key=len, reverse=True))


@dataclass(frozen=True)
class Rule:
    """One thing worth remembering, by the ways to say it.

    Args:
        kind: `told`: a fact; a new one of its name takes its place. `standing`: an instruction, of which one stands
            at a time. `reminder`: with the seconds `{n}` until it is due. `hold`: something during which nothing is
            typed; `pause`: the same for eleven seconds, by words of a request that was not understood whole. `cancel`
            forgets the reminders, `stop` ends the instruction and what holds.
        name: of the fact.
        wordings: ways to put it; the first one is typed. Of an instruction any, and the same one is typed.
        done: the word by which the model gives the reminder.
    """

    kind: str
    name: str
    wordings: tuple[str, ...]
    done: str = ""

    @staticmethod
    def of(values: Mapping[str, Any]) -> Rule:
        """From plain data."""
        return Rule(**{**values, "wordings": tuple(values["wordings"])})


@dataclass(frozen=True)
class Compact(SinksAndWindow):
    """Sinks, the recent past, and what the rules find in it, typed anew every so often.

    Args:
        rules: see `Rule`; plain data will do.
        every: positions after which a fact or a reminder is typed again: within the nano's local window of 256, which
            is as far as it knows a name (ten seconds, three with the camera on; `tml bench long`).
        standing_every: the same of an instruction. It is obeyed as long as it is in the global layers' reach (4,096
            positions, two minutes and a half), and typing it again between two words that it applies to costs some.
    """

    name: ClassVar[str] = "compact"
    listens: ClassVar[bool] = True
    rules: tuple[Rule, ...] = ()
    every: int = 200
    standing_every: int = 3000

    def __post_init__(self) -> None:
        rules = tuple(rule if isinstance(rule, Rule) else Rule.of(rule) for rule in self.rules)
        object.__setattr__(self, "rules", rules)
        for rule in rules:
            if rule.kind not in KINDS:
                raise ValueError(f"a rule of kind {rule.kind!r} is unknown; there are {', '.join(KINDS)}.")

    def fresh(self) -> dict[str, Any]:
        """See `Policy`."""
        return {"known": [], "words": [], "busy": 0, "spoke": 0, "last": 0}

    def note(self, memory: Mapping[str, Any], turn: int, position: int) -> str | None:
        """What has become too old, when nothing is going on; one thing, the oldest."""
        known = memory["known"]
        if any(item["kind"] in HOLDING or self._in_reach(item, turn, position) for item in known):
            return None
        quiet = turn - memory["busy"] > QUIET
        old = [item for item in known if position - item["typed"] >= self._age(item, quiet)]
        if not old or turn - memory["spoke"] <= QUIET:
            return None
        return self._wording(min(old, key=lambda item: item["typed"]), turn)

    def _age(self, item: Mapping[str, Any], quiet: bool) -> float:
        """At which it is typed again. An instruction does not wait for quiet for ever."""
        if item["kind"] == "standing":
            return self.standing_every * (1.0 if quiet else 1.2)
        return self.every if quiet else math.inf

    def _in_reach(self, item: Mapping[str, Any], turn: int, position: int) -> bool:
        """A reminder that is due before what was said of it is out of reach: the model counts, and is left alone."""
        return "due" in item and position - item["typed"] + (item["due"] - turn) * FEWEST <= 1.5 * self.every

    def _wording(self, item: Mapping[str, Any], turn: int) -> str:
        if "due" not in item:
            return str(item["text"])
        left = max(1, round((item["due"] - turn) / TURNS_PER_SECOND))
        return str(item["text"]).replace("{n}", number_words(left))

    def after(
        self, memory: Mapping[str, Any], turn: int, position: int, typed: str | None, heard: Sequence[str],
        decision: str, said: Sequence[str], note: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        """See `Policy`."""
        known = [dict(item) for item in memory["known"]]
        for item in known:
            if note is not None and self._wording(item, turn) == note:
                item["typed"] = position
        words = list(memory["words"])
        if typed:
            known = self._learn(known, normalise_text(typed), turn, position)
        for word in heard:
            words = [*words, [turn, word]][-LONGEST:]
            known = self._learn(known, _sentence(words), turn, position)
        known = self._done(known, turn, said)
        busy = turn if typed or heard or note else memory["busy"]
        spoke = turn if decision != "<silent>" else memory["spoke"]
        return {**memory, "known": known, "words": words, "busy": busy, "spoke": spoke}

    def _learn(self, known: list[dict[str, Any]], text: str, turn: int, position: int) -> list[dict[str, Any]]:
        """What is known after a text that ends now, by the rule whose wording is longest."""
        found = []
        for rule in self.rules:
            for wording in rule.wordings:
                whole = rule.kind == "stop"  # "i say stop" is part of another sentence
                match = _pattern(wording, whole).search(text)
                if match:
                    found.append((match.start(), rule, wording, match))
        if not found:
            return known
        _, rule, wording, match = min(found, key=lambda one: one[0])
        slots = match.groupdict()
        if rule.kind in ("stop", "cancel"):
            gone = ("standing", "hold") if rule.kind == "stop" else ("reminder",)
            return [item for item in known if item["kind"] not in gone]
        item: dict[str, Any] = {"kind": rule.kind, "name": rule.name, "typed": position}
        if rule.kind == "pause":
            item |= {"text": "", "due": turn + PATIENCE}
        elif rule.kind == "reminder":
            seconds = _NUMBERS[slots["n"]]
            item |= {"text": rule.wordings[0], "due": turn + 1 + seconds * TURNS_PER_SECOND, "done": rule.done}
        else:
            item["text"] = (wording if rule.kind == "standing" else rule.wordings[0]).format(**slots)
        others = [old for old in known if not _replaces(item, old)]
        return [*others, item]

    def _done(self, known: list[dict[str, Any]], turn: int, said: Sequence[str]) -> list[dict[str, Any]]:
        """Without the reminders that were given, or are over."""
        given = [item for item in known if item["kind"] == "reminder" and item["done"] in said]
        first = min(given, key=lambda item: item["due"], default=None)
        return [item for item in known if item is not first and item.get("due", turn + 1) > turn]


def _replaces(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """A fact replaces what was told under its name, an instruction the one before; reminders stand side by side.

    What holds replaces itself, and a request that was understood after all takes back the pause for it.
    """
    if new["kind"] in ("reminder", "hold"):
        return old["kind"] == "pause" or new["kind"] == old["kind"] == "hold"
    return new["kind"] == old["kind"] and (new["kind"] == "standing" or new["name"] == old["name"])


def _sentence(words: Sequence[Sequence[Any]]) -> str:
    """The words heard last, back to a pause."""
    start = len(words) - 1
    while start > 0 and words[start][0] - words[start - 1][0] < PAUSE:
        start -= 1
    return " ".join(word for _, word in words[start:])


@cache
def _pattern(wording: str, whole: bool) -> re.Pattern[str]:
    """The wording at the end of a text, or as all of it."""
    text = re.escape(wording).replace(r"\ ", " ")
    text = text.replace(r"\{x\}", "(?P<x>[a-z]+)").replace(r"\{n\}", f"(?P<n>{_NUMBER})")
    text = text.replace(r"\{thing\}", "(?P<thing>[a-z]+ [a-z]+)")
    return re.compile(rf"^{text}$" if whole else rf"\b{text}$")
