"""What of the closed world is worth remembering for long: its wordings as rules for `tml_lab.stream.compact`."""

from __future__ import annotations

from tml_lab.stream.compact import Compact, Rule
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import FACTS, MORE_WORDINGS

COUNTING = ("remind me", "reminder", "say tick every", "tick every")  # what follows is a number, or was misheard
STANDING = ("repeat_numbers", "next_number", "opposite", "to_english", "to_spanish")
STANDING_MORE = ("twice", "over", "okay_first", "one_word", "two_words", "wrong", "french", "german", "italian")


def rules(more: bool = False) -> tuple[Rule, ...]:
    """What is told, what stands until "stop", and reminders; nothing is typed while it ticks.

    `more`: also of what the next nano is to understand.
    """
    found = [
        Rule("told", "name", WORDINGS["my_name_is"]),
        *(Rule("standing", name, WORDINGS[name]) for name in STANDING),
        Rule("reminder", "remind", WORDINGS["remind"], "reminder"),
        Rule("hold", "tick", WORDINGS["tick"]),
        Rule("pause", "counting", COUNTING),
        Rule("stop", "stop", WORDINGS["stop"]),
    ]
    if more:
        found += [Rule("told", name, facts) for name, (facts, _) in FACTS.items()]
        found += [Rule("standing", name, MORE_WORDINGS[name]) for name in STANDING_MORE]
        found += [Rule("cancel", "cancel", MORE_WORDINGS["cancel"])]
    return tuple(found)


def compact(every: int = Compact.every, more: bool = False) -> Compact:
    """The policy with these rules."""
    return Compact(rules=rules(more), every=every)
