"""A recording and its cache as plotly figures on one time axis, with one cursor through all of them.

    line = LinkedTracks(recording, cache)
    line.add(attribution_track(attribute_decision(cache)))
    line                        # in a notebook: click anywhere
    line.t, line.turn           # where the cursor is, ready for cache.at(..., t=line.t)

Inside stands where it was heard: the cursor covers the 0.2 s of a turn, and `turn_hearing(line.t)` is that turn. To
hear it, or for recordings longer than a few minutes, take the widget `tml_widgets.Timeline`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tml_lab.interp.cache import Cache
from tml_lab.interp.decision import decision
from tml_lab.plot.decision import decision_track
from tml_lab.plot.inside import inside_tracks
from tml_lab.plot.sound import heard_wave, said_track, typed_track
from tml_lab.plot.style import INK, SOFT, to_html
from tml_lab.plot.timeline_data import typed_words
from tml_lab.plot.track import Track, check_turn, span_around, stack
from tml_lab.stream.clock import TURNS_PER_SECOND, heard_span, heard_start, turn_hearing
from tml_lab.stream.recording import Recording, seconds_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCRIPT = Path(__file__).parent / "static" / "linked.js"
Observer = TypeVar("Observer", bound=Callable[[float], Any])


class LinkedTracks:
    """Linked tracks: what was heard and said, p(speak), attention and lens, and any that are added.

    Args:
        recording: what happened.
        cache: what was inside, for the words heard, attention and lens. None: the recording's own numbers alone.
        tracks: in place of these.
        title: stands above.

    `left_out` says which tracks the cache lacks something for. Raises ValueError for a track of another length.
    """

    def __init__(
        self,
        recording: Recording,
        cache: Cache | None = None,
        tracks: Sequence[Track] | None = None,
        title: str | None = None,
    ) -> None:
        self.recording, self.title = recording, title
        self.left_out: tuple[str, ...] = ()
        self._tracks = list(tracks) if tracks is not None else self._usual(cache)
        for track in self._tracks:
            track.check(recording)
        self._t: float | None = None
        self._range = (0.0, seconds_of(recording))
        self._observers: list[Callable[[float], Any]] = []
        self._widget: Any = None

    def __repr__(self) -> str:
        at = "no cursor" if self._t is None else f"cursor at {self._t:.1f} s"
        return f"LinkedTracks({len(self._tracks)} tracks, {seconds_of(self.recording):.1f} s, {at})"

    def _usual(self, cache: Cache | None) -> list[Track]:
        """The tracks that there are when none are named."""
        recording = self.recording
        inside: dict[str, Track] = {}
        if cache is not None:
            inside, self.left_out = inside_tracks(recording, cache, ("words heard", "attention", "lens"))
        tracks = [heard_wave(recording), *([typed_track(recording)] if typed_words(recording) else [])]
        heard, attention, lens = ([inside[n]] if n in inside else [] for n in ("words heard", "attention", "lens"))
        decided = decision_track(recording, None if cache is None else decision(cache))
        return [*tracks, *heard, decided, said_track(recording), *attention, *lens]

    def add(self, track: Track) -> LinkedTracks:
        """Put a track below the others; returns the timeline, so that calls can be chained. Show it again to see it.

        Raises ValueError for a track of another length.
        """
        track.check(self.recording)
        self._tracks.append(track)
        self._widget = None
        return self

    @property
    def tracks(self) -> tuple[Track, ...]:
        """From top to bottom."""
        return tuple(self._tracks)

    @property
    def t(self) -> float | None:
        """Second (heard clock) at which the cursor's turn begins; None before it was set. Setting it moves the cursor.

        Raises ValueError for a time outside the recording.
        """
        return self._t

    @t.setter
    def t(self, seconds: float) -> None:
        self.turn = turn_hearing(seconds)

    @property
    def turn(self) -> int | None:
        """The cursor's turn, as `t`."""
        return None if self._t is None else turn_hearing(self._t)

    @turn.setter
    def turn(self, turn: int) -> None:
        check_turn(self.recording, turn)
        moved, self._t = self._t != heard_start(turn), heard_start(turn)
        if self._widget is not None:
            with self._widget.batch_update():
                self._draw_cursor(self._widget)
        for observer in self._observers if moved else ():
            observer(self._t)

    def observe(self, observer: Observer) -> Observer:
        """Call `observer(t)` whenever the cursor moves, by a click or from code; usable as a decorator."""
        self._observers.append(observer)
        return observer

    def zoom(self, turn: int | None = None, t: float | None = None, around: float = 1.5) -> LinkedTracks:
        """Show `around` seconds to either side of a turn or second; without either, all.

        Raises ValueError for a turn outside the recording.
        """
        self._range = span_around(self.recording, turn, t, around)
        if self._widget is not None:
            self._widget.update_xaxes(range=list(self._range))
        return self

    def figure(self) -> go.Figure:
        """A plain figure with the cursor where it is; hovering shows one line through all tracks."""
        figure = stack(self._tracks, self.recording, self.title)
        figure.add_shape(
            type="rect", xref="x", yref="paper", x0=0, x1=0, y0=0, y1=1, name="cursor", visible=False,
            line={"color": INK, "width": 1.5}, fillcolor=SOFT, opacity=0.28,
        )  # fmt: skip
        figure.add_annotation(
            name="readout", xref="paper", yref="paper", x=1, y=1, xanchor="right", yanchor="bottom", showarrow=False,
            text="click to set the cursor", font={"size": 12, "color": SOFT},
        )  # fmt: skip
        self._draw_cursor(figure)
        return figure.update_xaxes(range=list(self._range))

    def _draw_cursor(self, figure: Any) -> None:
        if (turn := self.turn) is None:
            return
        begin, end = heard_span(turn)
        figure.update_shapes({"x0": begin, "x1": end, "visible": True}, selector={"name": "cursor"})
        figure.update_annotations({"text": self._notes()[turn]}, selector={"name": "readout"})

    def _notes(self) -> list[str]:
        """What the read-out says of each turn."""
        made = zip(self.recording.decisions, self.recording.p_speak, self.recording.words, strict=True)
        return [
            f"turn {n}, {heard_start(n):.1f} s: {' '.join([name, *words])}, p(speak) {p:.2f}".replace("<", "&lt;")
            for n, (name, p, words) in enumerate(made)
        ]

    @property
    def widget(self) -> Any:
        """A plotly FigureWidget whose clicks set `t`; None where anywidget is not installed.

        The widget tells hovers and clicks through one trait, and only the last one arrives while the kernel is busy: a
        click may then be lost, and is to be made again.
        """
        if self._widget is None:
            import plotly.graph_objects as go

            try:
                self._widget = go.FigureWidget(self.figure())
            except ImportError:
                return None
            for trace in self._widget.data:  # a hover in any track includes the points of all tracks
                if trace.name in ("p(speak)", "reader"):
                    trace.on_click(self._clicked)
        return self._widget

    def _clicked(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs and self.recording.turns:  # the axis goes on for a turn in which nothing more is heard
            self.turn = min(turn_hearing(max(points.xs[0], 0.0)), self.recording.turns - 1)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **options: Any) -> dict[str, Any]:
        """The widget, and the plain figure for pages where no widget can live."""
        plain = self.figure()._repr_mimebundle_(include, exclude, **options) or {}
        widget = self.widget
        live = widget._repr_mimebundle_(include, exclude, **options) if widget is not None else {}
        live = live[0] if isinstance(live, tuple) else live
        return {**plain, **(live or {})}

    def to_html(self, offline: bool = True) -> str:
        """A page in which clicks and arrow keys move the cursor; `offline`: it needs no network."""
        linked = {"notes": self._notes(), "perSecond": TURNS_PER_SECOND}
        script = SCRIPT.read_text().replace("LINKED", json.dumps(linked).replace("</", "<\\/"))
        return to_html(self.figure(), offline, "{\n" + script + "}")
