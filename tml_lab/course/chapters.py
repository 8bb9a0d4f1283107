"""The course's table of contents: which chapters there are, what each is about, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """One notebook.

    Args:
        number: two digits. title: without the number. file: in `notebooks/`.
        about: one line, what you can do afterwards. minutes: of a learner, reading and solving.
    """

    number: str
    title: str
    file: str
    about: str
    minutes: int


def _chapter(number: str, title: str, name: str, about: str, minutes: int) -> Chapter:
    return Chapter(number, title, f"{number}_{name}.ipynb", about, minutes)


CHAPTERS = (
    _chapter("00", "Start here", "start_here", "see when the model decides to speak, and talk to it", 5),
    _chapter("01", "Time and micro-turns", "time_and_micro_turns", "say what a turn is, and which clock you mean", 40),
    _chapter("02", "Sound to dMel", "sound_to_dmel", "turn a wave into what the model hears, in any chunking", 45),
    _chapter("03", "Sight", "sight", "turn pictures into patches, and know what attention to them means", 45),
    _chapter("04", "Attention that knows distance", "attention", "build attention with bias, window and ring", 70),
    _chapter("05", "Mixture of experts", "mixture_of_experts", "route tokens, with a sink, in balance", 60),
    _chapter("06", "Sound out", "sound_out", "draw a voice by flow matching, and make it sound", 50),
    _chapter("07", "Learning when to speak", "learning_when_to_speak", "train a small model from scratch", 50),
    _chapter("08", "Streaming sessions", "streaming_sessions", "keep, fork and replay a session for hours", 45),
    _chapter("09", "Bitwise", "bitwise", "say why floats differ, and make them not differ", 45),
    _chapter("10", "Triton puzzles", "triton_puzzles", "write this house's kernels", 60),
    _chapter("11", "The colleague in the background", "background", "hand work on, and weave its result in", 35),
    _chapter("12", "Measuring interactivity", "measuring_interactivity", "grade what was said, and when", 40),
    _chapter("13", "Harness or model?", "harness_or_model", "build the rival, and watch where it must fail", 35),
    _chapter("14", "Why did it speak?", "why_did_it_speak", "find the cause of a decision", 45),
    _chapter("15", "From nano to 276 billion", "from_nano_to_276b", "count what a large model costs", 40),
    _chapter("16", "Safety: refusing out loud", "safety", "measure refusals, and search for what breaks them", 40),
)


def chapter(number: str) -> Chapter:
    """The chapter of that number. Raises KeyError."""
    return {each.number: each for each in CHAPTERS}[number]
