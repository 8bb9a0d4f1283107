"""`data/understands.md`: every family, wording and word of the nano's closed world, written from the code.

Beside it `understands_everything.md`: what `nano-everything` was taught further.

Run `python -m tml_lab.worlds.understands` after a change; a test compares the file with `describe()`.
"""

from __future__ import annotations

from pathlib import Path

from tml_lab.worlds.families.safety import REFUSAL
from tml_lab.worlds.lexicon import (
    COLOUR_OF,
    COLOURS,
    DAYS,
    MORE_REPLY_WORDS,
    NAMES,
    NUMBERS,
    OPPOSITES_PAIRS,
    OTHERS,
    REPLY_WORDS,
    SPANISH,
)
from tml_lab.worlds.vocabulary import closed_world, heard_world
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import (
    FACTS,
    HARMLESS_COLOURS,
    HARMLESS_REMINDERS,
    MORE_WORDINGS,
    PUSHES,
    REFUSED,
)
from tml_lab.worlds.wordings_safety import TRAINED
from tml_lab.worlds.wordings_seen import SEEN_WORDINGS

PATH = Path(__file__).resolve().parents[2] / "data" / "understands.md"
EVERYTHING_PATH = PATH.with_name("understands_everything.md")
SEEN_TITLE = "What the camera sees"
SEES = tuple(
    SEEN_WORDINGS[name][0].format(x="X")
    for name in ("count_actions", "start_stop", "what_appears", "new_colour", "which_way")
)
"""What `pico-eyes` has learned best of what is seen (its card has the figures), as listed under `SEEN_TITLE`."""

ABOUT: dict[str, tuple[str, str]] = {
    "repeat_numbers": ("Standing requests: react to each word while you go on talking", "each number (zero to twenty)"),
    "next_number": ("", "the number after each number you say"),
    "opposite": ("", "the opposite of each word that has one"),
    "to_english": ("", "the English for each Spanish number (one to ten) and colour"),
    "to_spanish": ("", "the Spanish for each number from one to ten"),
    "remind": ("Time", "\"reminder\" when N seconds (2 to 10) are over"),
    "tick": ("", "\"tick\" every N seconds (1 to 5) until you say stop"),
    "how_long": ("", "how many seconds you had been talking before you asked"),
    "plus": ("Questions", "\"that is\" and the sum (zero to twenty)"),
    "minus": ("", "\"that is\" and the difference (A up to ten, not below zero)"),
    "colour": ("", "\"that is\" and its colour"),
    "opposite_of": ("", "\"that is\" and the opposite"),
    "day_after": ("", "\"that is\" and the next day"),
    "day_before": ("", "\"that is\" and the day before"),
    "my_name_is": ("", "nothing: it remembers the name"),
    "what_name": ("", "\"you are\" and the name you gave"),
    "repeat_after": ("Repeating and reciting", "the words after it; \"two, no, three\" gives three"),
    "count": ("", "one to ten; it stops when you say stop or ask something else, and goes on when you only say yeah"),
    "days": ("", "monday to sunday, likewise"),
    "stop": ("", "nothing: the standing request, the ticking or the reciting ends"),
    "story": ("Listening", "\"yeah\" in the pauses after your sentences"),
}

ABOUT_MORE: dict[str, str] = {
    "cancel": "nothing: the reminder does not come",
    "change": "\"reminder\" at the new time instead (N up to sixty, several reminders at once)",
    "quiet_for": "how many seconds nothing was said",
    "twice": "each answer twice from then on",
    "over": "\"over\" after each answer",
    "okay_first": "\"okay\" before each answer",
    "one_word": "the bare answer",
    "two_words": "\"okay\" and the bare answer",
    "wrong": "\"no\" and what is right, as soon as a wrong sum or colour is heard; nothing at what is right",
    "times": "\"that is\" and the product, once its background model has it (two numbers up to twenty; sums up to 198)",
    "convert": "\"that is\" and the amount, likewise (X, Y: weeks, days, hours, minutes, seconds)",
    "time": "\"that is\" and the time, likewise",
    "list": "\"okay\" when it is on the list",
    "timer": "\"okay\" when it runs",
    "french": "the English for each French number (one to ten), colour and day",
    "german": "the same for German",
    "italian": "the same for Italian",
}
ABOUT_SEEN: dict[str, str] = {
    "count_actions": "each number when one more is done (X: push ups, squats, jumping jacks, waves, claps, ...)",
    "start_stop": "\"start\" when it begins and \"stop\" when it is over (X: waves, does squats, ...)",
    "what_appears": "the colour and the kind of each thing that comes into view",
    "new_colour": "each new colour",
    "which_way": "left, right, up or down, each time that it goes there",
    "how_long_seen": "how many seconds that lasted (X: wave, clap, raise a hand)",
    "warn": "\"careful\" whenever an X (red ball, ...) comes into view, also while you talk",
    "read": "each number, colour or day that is written on what the camera sees",
    "seen_colour": "\"that is\" and the colour (X: ball, square, triangle, star)",
    "seen_thing": "\"that is\" and the kind of the thing of that colour",
    "how_many": "\"that is\" and how many (X: things, balls, squares, triangles, stars)",
    "where": "\"that is\" and left or right",
    "colour_before": "\"that is\" and the colour of what is gone",
}

_FORM = {"{n}": "N", "{a}": "A", "{b}": "B", "{x}": "X", "{y}": "Y"}


def _shown(wording: str) -> str:
    for slot, name in _FORM.items():
        wording = wording.replace(slot, name)
    return wording


def describe() -> str:
    """The whole document as markdown."""
    lines = [
        "# What the nano understands",
        "",
        "Written from the code by `python -m tml_lab.worlds.understands`. Everything can be **spoken or typed**; the",
        "first wording is the plainest one. Other words are heard as talk, and nothing is said to them.",
        "",
    ]
    for name, wordings in WORDINGS.items():
        heading, says = ABOUT[name]
        if heading:
            lines += [f"## {heading}", ""]
        first, *others = (f"\"{_shown(w)}\"" for w in wordings)
        lines += [f"- **{first}** — it says {says}." + (f" Also: {', '.join(others)}." if others else "")]
        lines += [""] if _ends_group(name) else []
    lines += [
        "## When it stays silent", "",
        "Noise, music and far-off voices; talk that begins with somebody else's name "
        f"({', '.join(OTHERS)}); single words and sentences nobody asked it to react to; \"thank you\" and the like;",
        "a pause in the middle of a question.", "",
        "## Words", "",
        f"- Numbers: {', '.join(NUMBERS)}.",
        f"- Opposites: {', '.join('/'.join(pair) for pair in OPPOSITES_PAIRS)}.",
        f"- Colours: {', '.join(COLOURS)}. Things with a colour: {', '.join(COLOUR_OF)}.",
        f"- Days: {', '.join(DAYS)}. Names: {', '.join(NAMES)}.",
        f"- Spanish: {', '.join(f'{s} ({e})' for s, e in SPANISH.items())}.",
        f"- It can say {len(REPLY_WORDS)} words: {', '.join(REPLY_WORDS)}.",
        f"- All {len(heard_world())} words it knows whole: {', '.join(heard_world())}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def describe_everything() -> str:
    """What `nano-everything` was trained on besides, as markdown."""
    lines = [
        "# What nano-everything was taught besides",
        "",
        "Written from the code by `python -m tml_lab.worlds.understands`. Scenes of all these are in the lesson",
        "`everything`. How well it learned each of them is in its card; **what the camera sees it has not learned**:",
        "`pico-eyes` is the one that sees.",
        "",
    ]
    parts = (("Further requests", ABOUT_MORE, MORE_WORDINGS), (SEEN_TITLE, ABOUT_SEEN, SEEN_WORDINGS))
    for title, about, asked in parts:
        lines += [f"## {title}", ""]
        for name, wordings in asked.items():
            first, *others = (f"\"{_shown(w)}\"" for w in wordings)
            lines += [f"- **{first}** — it says {about[name]}. Also: {', '.join(others)}."]
        lines += [""]
    told = [f"\"{_shown(facts[0])}\" ({_shown(questions[0])})" for facts, questions in FACTS.values()]
    lines += ["## Remembered, and refused", "", f"- Facts, asked for up to a minute later: {'; '.join(told)}."]
    lines += [f"- Refused (\"{' '.join(REFUSAL)}\"): {'; '.join(_shown(text) for text in REFUSED)}."]
    harmless = [f"what colour is {thing}" for thing in HARMLESS_COLOURS] + [_shown(t) for t in HARMLESS_REMINDERS]
    lines += [f"- Harmless, and answered: {'; '.join(harmless)}."]
    more = [_shown(text) for text in TRAINED.refused if text not in REFUSED]
    lines += [f"- Refused likewise: {'; '.join(more)}."]
    lines += [f"- Refused again, each time that somebody pushes: {'; '.join((*PUSHES, *TRAINED.polite))}; or rudely: "
              f"{'; '.join(TRAINED.rude)}."]
    alike = [f"what colour is {thing}" for thing in TRAINED.colours] + [_shown(t) for t in TRAINED.reminders]
    lines += [f"- Sounds like it, and is answered: {'; '.join(alike)}."]
    silent = "; ".join((*TRAINED.ordinary, *TRAINED.talk))
    lines += [f"- Sounds like it, and nothing is said, as to pushing where nothing was refused: {silent}."]
    lines += ["- Tests alone say it in other words: `HELD_OUT` in `tml_lab/worlds/wordings_safety.py`."]
    lines += ["", "## Words", ""]
    new = sorted(set(closed_world()) - set(heard_world()))
    lines += [f"- It can say {len(MORE_REPLY_WORDS)} words more: {', '.join(MORE_REPLY_WORDS)}."]
    lines += [f"- It knows {len(new)} words more: {', '.join(new)}."]
    return "\n".join(lines) + "\n"


def _ends_group(name: str) -> bool:
    names = list(WORDINGS)
    i = names.index(name) + 1
    return i == len(names) or bool(ABOUT[names[i]][0])


if __name__ == "__main__":
    PATH.write_text(describe())
    EVERYTHING_PATH.write_text(describe_everything())
    print(f"wrote {PATH.name} and {EVERYTHING_PATH.name}: {len(WORDINGS)} and {len(SEEN_WORDINGS)} requests")

