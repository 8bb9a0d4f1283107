"""What of the closed world is worth remembering for long: its wordings as rules for `tml_lab.stream.compact`.

Here stands, too, which policy of memory the sessions of people get: `tml serve`, `tml play`, the live widget. A bare
`Session` remembers as the model was trained.
"""

from __future__ import annotations

from collections.abc import Callable

from tml_lab.stream.compact import Compact, Rule
from tml_lab.stream.policy import Policy, PolicyError, SinksAndWindow, Window
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import FACTS, MORE_WORDINGS
from tml_lab.worlds.wordings_seen import SEEN_WORDINGS

COUNTING = ("remind me", "reminder", "say tick every", "tick every")  # what follows is a number, or was misheard
STANDING = ("repeat_numbers", "next_number", "opposite", "to_english", "to_spanish")
WATCHING = ("what_appears", "new_colour", "which_way", "read")  # a count would begin anew, and is left alone
INSTRUCTING = ("standing", "hold", "pause", "stop")  # kinds of rules
STANDING_MORE = ("twice", "over", "okay_first", "one_word", "two_words", "wrong", "french", "german", "italian")


def rules(more: bool = False) -> tuple[Rule, ...]:
    """What is told, what stands until "stop", and reminders; nothing is typed while it ticks.

    `more`: also of what the next nano is to understand.
    """
    found = [
        Rule("told", "name", WORDINGS["my_name_is"]),
        *(Rule("standing", name, WORDINGS[name]) for name in STANDING),
        *(Rule("standing", name, SEEN_WORDINGS[name]) for name in WATCHING),
        Rule("standing", "warn", tuple(wording.replace("{x}", "{thing}") for wording in SEEN_WORDINGS["warn"])),
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


def instructions(more: bool = False) -> Compact:
    """The policy with the rules of instructions alone: no name and no reminder is typed again."""
    return Compact(rules=tuple(rule for rule in rules(more) if rule.kind in INSTRUCTING))


POLICIES: dict[str, Callable[[], Policy]] = {
    Window.name: Window, SinksAndWindow.name: SinksAndWindow,
    "instructions": instructions, Compact.name: compact,
}  # fmt: skip
USUAL = "instructions"
"""Chosen for the nano on training voices (`benchmarks/memory_policies.py`; its card has the figures): an instruction
that is typed again is kept, and costs nothing in a quiet room; a name that is typed again (`compact`) is kept, too, but
in a room with noise makes it speak unasked."""


def usual_policy(name: str | None = None) -> Policy:
    """The policy of that name, with its usual settings; None: `USUAL`. Raises PolicyError for an unknown name."""
    name = name or USUAL
    if name not in POLICIES:
        raise PolicyError(f"no policy of memory is called {name!r}; choose from {', '.join(POLICIES)}.")
    return POLICIES[name]()
