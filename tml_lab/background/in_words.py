"""A context package in a few plain lines, for a small model: it reads no JSON, and has room for a page at most.

    0.4 s typed: what do we need
    2.0 s heard: bread and milk
    3.4 s said: okay
    Checklist list: 0 of 2 done.
"""

from __future__ import annotations

from textwrap import shorten

from tml_lab.background.context import ContextPackage, Entry

VERBS = {"text_in": "typed", "audio_in": "heard", "text_out": "said"}  # streams with words in them
PAUSE = 1.0  # seconds between words; after more of them another line begins
LONGEST = 160  # characters of a line


def in_words(package: ContextPackage, most: int = 600) -> str:
    """What was typed, heard and said with its times, then what is on the screen and what is not answered yet.

    At most `most` characters; what is oldest is left out. Input has its time on the heard clock, what was said on the
    played one: when it began, in seconds.
    """
    lines = [*_talk(package), *package.screen]
    lines += [f"Not answered yet: {call.tool} {call.request}".rstrip() for call in package.open_calls]
    kept: list[str] = []
    for line in reversed(lines):
        line = shorten(line, LONGEST, placeholder=" ...")
        if sum(len(one) + 1 for one in kept) + len(line) > most:
            break
        kept.insert(0, line)
    return "\n".join(kept)


def _talk(package: ContextPackage) -> list[str]:
    """A line for whatever was typed in one turn, and for each run of words heard or said."""
    lines: list[str] = []
    last: Entry | None = None
    for entry in package.transcript:
        if entry.stream not in VERBS or not entry.text:
            continue
        goes_on = last is not None and last.stream == entry.stream != "text_in"
        if last is not None and goes_on and entry.heard[0] - last.heard[1] <= PAUSE:
            lines[-1] += f" {entry.text}"
        else:
            start = (entry.played if entry.stream == "text_out" else entry.heard)[0]
            lines.append(f"{start:.1f} s {VERBS[entry.stream]}: {entry.text}")
        last = entry
    return lines
