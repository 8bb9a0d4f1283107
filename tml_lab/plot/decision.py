"""Figures of the decision: p(speak) and logit difference turn by turn, and the lens over layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.interp.decision import Decisions
from tml_lab.plot.grid import grid_track
from tml_lab.plot.sound import heard_track, said_track, typed_track
from tml_lab.plot.style import SILENT_COLOUR, SOFT, SPEAK_COLOUR, bar_of_colours, limit, listed, plain
from tml_lab.plot.timeline_data import decided, typed_words
from tml_lab.plot.track import Track, at_turn, check_turns, middles, runs, stack, step_line, turn_spans
from tml_lab.stream.clock import Clock, heard_start
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go


def decision_track(
    recording: Recording, decisions: Decisions | None = None, clock: Clock | str = Clock.HEARD
) -> Track:
    """p(speak) of each turn as a bar, orange where it decides to speak, grey where not.

    Args:
        decisions: of a cache; None: as the session decided.
        clock: whether bars stand where the turn heard, or where what it decided is played.

    Raises ValueError when they are not of one length.
    """
    names = decided(recording) if decisions is None else decisions.names
    p_speak = recording.p_speak if decisions is None else decisions.p_speak
    check_turns(recording, len(names), "p(speak)")
    notes = [
        f"{when}: {name} {' '.join(words)}".rstrip().replace("<", "&lt;")
        for when, name, words in zip(turn_spans(len(names), clock), names, recording.words, strict=True)
    ]
    bars = {
        "type": "bar", "x": middles(len(names), clock), "y": plain(p_speak), "width": TURN_SECONDS,
        "marker": {"color": [SPEAK_COLOUR if n == "<speak>" else SILENT_COLOUR for n in names], "line": {"width": 0}},
        "customdata": notes, "hovertemplate": "%{customdata}, p(speak) %{y:.2f}<extra></extra>",
        "name": "p(speak)", "showlegend": False,
    }  # fmt: skip
    axis = {"range": [0, 1.02], "tickvals": [0, 0.5, 1]}
    return Track("p(speak)", (bars,), _speaks(np.asarray(p_speak)), axis, 1.0, len(names))


def _speaks(p_speak: np.ndarray) -> str:
    """When p(speak) rises above one half."""
    if not len(p_speak):
        return "There are no turns, so there is no p(speak)."
    best = int(p_speak.argmax())
    highest = f"its highest is {p_speak[best]:.2f} at {heard_start(best):.1f} s"
    rises = [f"{heard_start(first):.1f} s" for first, _ in runs(p_speak > 0.5)]
    return f"p(speak) {f'rises above one half at {listed(rises)}' if rises else 'stays below one half'}; {highest}."


def logit_track(decisions: Decisions) -> Track:
    """Logit of `<speak>` less logit of `<silent>`, turn by turn, and where it is zero."""
    values = decisions.logit_difference
    line = {**step_line(values, "logit difference", SPEAK_COLOUR), "showlegend": False}
    alt = "The logit difference is not there." if not len(values) else (
        f"The logit difference lies between {values.min():.1f} at {at_turn(int(values.argmin()))} and "
        f"{values.max():.1f} at {at_turn(int(values.argmax()))}; it is above zero in {int((values > 0).sum())} of "
        f"{len(values)} turns."
    )  # fmt: skip
    axis = {"zeroline": True, "zerolinecolor": SOFT, "zerolinewidth": 1}
    return Track("logit difference: &lt;speak> less &lt;silent>", (line,), alt, axis, 1.0, len(values))


def plot_decisions(
    recording: Recording, decisions: Decisions | None = None, heard: Sequence[Sequence[str]] | None = None
) -> go.Figure:
    """p(speak) and logit difference over time, with what was typed, heard and said on the same axis.

    Args:
        heard: per turn, the words it heard (`tml_lab.interp.hearing.words_heard`).

    Raises ValueError when they are not of one length.
    """
    tracks = [typed_track(recording)] if typed_words(recording) else []
    tracks += [heard_track(recording, heard)] if heard is not None else []
    tracks += [decision_track(recording, decisions)]
    tracks += [logit_track(decisions)] if decisions is not None else []
    return stack([*tracks, said_track(recording)], recording, "When does it decide to speak?")


def lens_track(lens: np.ndarray, name: str = "decision lens: &lt;speak> less &lt;silent>") -> Track:
    """`decision_lens`'s float32 [layers, turns] as a heat map: blue leans to silence, orange to speech.

    Earlier layers are read with a norm made for the last: compare turns within a row. Colours go by the square root,
    so that the faint leanings of early layers can be seen.
    """
    track = grid_track(lens, [f"L{n}" for n in range(len(lens))], name, _settles(lens), around_zero=True, upwards=True)
    heat = track.traces[0]
    most = limit(lens)
    ends = [round(part * most, 2 if most < 1 else 0) for part in (-1, -0.25, 0, 0.25, 1)]
    bar = bar_of_colours("logits", tickvals=plain(_root(np.array(ends))), ticktext=[f"{n:g}" for n in ends])
    heat |= {
        "z": plain(_root(lens)), "zmin": -(most**0.5), "zmax": most**0.5,
        "customdata": plain(lens), "hovertemplate": "lens %{y}: %{customdata:.2f}<extra></extra>",
        "colorbar": bar,
    }  # fmt: skip
    return track


def _root(values: np.ndarray) -> np.ndarray:
    """The square root of a number's size, with its sign."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _settles(lens: np.ndarray) -> str:
    """From which layer on the surest turn leans to speech."""
    if not lens.size:
        return "There are no turns to read the layers at."
    turn = int(lens[-1].argmax())
    if lens[-1, turn] <= 0:
        return f"After the last layer no turn leans to speech; {at_turn(turn)} comes nearest with {lens[-1, turn]:.1f}."
    against = np.flatnonzero(lens[:, turn] <= 0)
    since = int(against[-1]) + 1 if len(against) else 0
    surest = f"Where it is surest, {at_turn(turn)}"
    return f"{surest}, it leans to speech from layer {since} on, at last by {lens[-1, turn]:.1f}."


def plot_lens(recording: Recording, lens: np.ndarray) -> go.Figure:
    """The decision lens over time, with p(speak) and what was said.

    Raises ValueError when they are not of one length.
    """
    tracks = [decision_track(recording), lens_track(lens), said_track(recording)]
    return stack(tracks, recording, "In which layer does it come to want to speak?")
