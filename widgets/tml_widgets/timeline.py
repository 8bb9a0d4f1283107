"""`Timeline`: a recording on one time axis, to be looked at, listened to and cut; one cursor, shared with Python.

    line = Timeline(recording, cache)      # or Timeline(recording, lanes=[attribution_track(...), cache])
    line                                   # click: the cursor; drag: a selection; ? shows the keys
    line.t, line.turn, line.selection      # where that is; setting them moves the page
    line.export("talk.TextGrid")           # also .wav, .mp4, .html, .tml.zip

Sound, spectra and pictures are computed piece by piece when they come into sight, so an hour opens as fast as a second.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anywidget
import numpy as np
import traitlets

from tml_lab.config import SAMPLE_RATE
from tml_lab.interp.cache import Cache
from tml_lab.plot.esm import link
from tml_lab.plot.export import KINDS, export
from tml_lab.plot.export_sound import pieces
from tml_lab.plot.inside import inside_tracks
from tml_lab.plot.lanes import Lane, Words, lane_of, usual_lanes
from tml_lab.plot.timeline import STATIC, timeline_content
from tml_lab.plot.track import Track, check_turn, span_around
from tml_lab.stream.clock import heard_start, turn_hearing
from tml_lab.stream.recording import Recording, RecordingError, seconds_of
from tml_widgets import subshells

BLOCK_SECONDS = 2  # of sound in one message
Observer = TypeVar("Observer", bound=Callable[[tuple[float, float] | None], Any])


@dataclass(frozen=True, eq=False)
class Selection:
    """What was selected.

    Args:
        start, end: seconds.
        turns: the turns that heard some of it.
        heard: float32 [n] at 16 kHz.
        own: the own voice in the same seconds, float32 [n].
        words: said in it, `(word, start, end)` in seconds played.
    """

    start: float
    end: float
    turns: range
    heard: np.ndarray
    own: np.ndarray
    words: tuple[tuple[str, float, float], ...]


def _span(what: str) -> Any:
    """A trait of `(start, end)`, or None."""
    ends = (traitlets.Float(), traitlets.Float())
    return traitlets.Tuple(*ends, allow_none=True, default_value=None, help=what).tag(sync=True)


class Timeline(anywidget.AnyWidget):
    """A recording's sound, pictures, words, decisions and inside over time.

    Args:
        recording: what happened.
        lanes: more rows: a `Cache` (words heard, attention, lens, router), a `Track`, or a list of these.
        heard: the transcript of what was heard, `(start, end, words)`, where one is known.
        title: stands above, and names exported files.
        save_to: the folder for files that the page's menu writes.

    `left_out` says which lanes a cache lacks something for. Raises ValueError for lanes of another recording's length.
    """

    _esm = link(STATIC / "widget.js")
    _css = (STATIC / "timeline.css").read_text(encoding="utf-8")

    t = traitlets.Float(None, allow_none=True, help="the cursor, in seconds").tag(sync=True)
    selection = _span("what is selected, in seconds")
    view = _span("what is in sight, in seconds")
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)
    size = traitlets.Enum(("normal", "projector"), "normal").tag(sync=True)

    def __init__(
        self,
        recording: Recording,
        lanes: Cache | Track | Sequence[Cache | Track] = (),
        heard: Words = (),
        title: str = "",
        save_to: str | Path = ".",
        **traits: Any,
    ) -> None:
        self.recording, self.title, self.heard = recording, title, tuple(heard)
        self.save_to = Path(save_to)
        self.left_out: tuple[str, ...] = ()
        self._lanes = usual_lanes(recording, self.heard)
        for more in [lanes] if isinstance(lanes, Cache | Track) else lanes:
            self._add(more)
        self._observers: list[Callable[[tuple[float, float] | None], Any]] = []
        super().__init__(**traits)
        self.needed_subshell_fix = subshells.handle_on_subshell(self.comm)
        self._answers = {
            "content": self._on_content, "tile": self._on_tile, "sound": self._on_sound, "export": self._on_export,
        }  # fmt: skip
        self.on_msg(self._on_message)

    def __repr__(self) -> str:
        at = "no cursor" if self.t is None else f"cursor at {self.t:.1f} s"
        return f"Timeline({len(self._lanes)} lanes, {seconds_of(self.recording):.1f} s, {at})"

    def _add(self, more: Cache | Track) -> None:
        """A track, or those of a cache, below what is inside already."""
        tracks = [more]
        if isinstance(more, Cache):
            found, left_out = inside_tracks(self.recording, more)
            tracks, self.left_out = list(found.values()), (*self.left_out, *left_out)
        out = next((n for n, lane in enumerate(self._lanes) if lane.group == "out"), len(self._lanes))
        for track in tracks:
            if not isinstance(track, Track):
                raise ValueError(f"a lane is made from a Track or a Cache, not from {type(track).__name__}.")
            track.check(self.recording)
            self._lanes.insert(out, lane_of(track))
            out += 1

    def add(self, more: Cache | Track) -> Timeline:
        """Put a track's or a cache's lanes below what is inside; returns the timeline. Show it again to see them.

        Raises ValueError for lanes of another recording's length.
        """
        self._add(more)
        return self

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """From top to bottom."""
        return tuple(self._lanes)

    # ---- cursor and selection

    @traitlets.validate("t")
    def _check_t(self, proposal: Any) -> float | None:
        return None if proposal.value is None else self._inside(proposal.value, "t")

    @traitlets.validate("selection", "view")
    def _check_span(self, proposal: Any) -> tuple[float, float] | None:
        name = proposal.trait.name
        if proposal.value is None:
            return None
        start, end = (self._inside(seconds, name) for seconds in proposal.value)
        if end <= start:
            raise traitlets.TraitError(f"{name} should end after it begins, not {start:g} to {end:g} s.")
        return start, end

    def _inside(self, seconds: float, name: str) -> float:
        """Raises TraitError for a time outside the recording; half a millisecond beyond it is its end."""
        length = seconds_of(self.recording)
        if not (math.isfinite(seconds) and -5e-4 <= seconds <= length + 5e-4):
            raise traitlets.TraitError(f"{name}={seconds!r} lies outside the recording: it has 0 to {length:.1f} s.")
        return min(max(float(seconds), 0.0), length)

    @property
    def turn(self) -> int | None:
        """The turn that hears the cursor's instant (the last one, behind it); None without a cursor. Setting it moves
        the cursor to where the turn begins to hear. Raises ValueError for a turn that is not there."""
        if self.t is None or not self.recording.turns:
            return None
        return min(turn_hearing(self.t), self.recording.turns - 1)

    @turn.setter
    def turn(self, turn: int) -> None:
        check_turn(self.recording, turn)
        self.t = heard_start(turn)

    def zoom(self, turn: int | None = None, t: float | None = None, around: float = 1.5) -> Timeline:
        """Show `around` seconds to either side of a turn or second; without either, all.

        Raises ValueError for a turn outside the recording.
        """
        self.view = span_around(self.recording, turn, t, around)
        return self

    def on_select(self, observer: Observer) -> Observer:
        """Call `observer((start, end))`, seconds, whenever a selection has been made, by hand or from code, and
        `observer(None)` when it is gone; usable as a decorator."""
        self._observers.append(observer)
        return observer

    @traitlets.observe("selection")
    def _tell_selection(self, change: Any) -> None:
        for observer in self._observers:
            observer(self.selection)

    def selected(self) -> Selection:
        """What is selected: sound, turns, words. Raises ValueError when nothing is."""
        if self.selection is None:
            raise ValueError("nothing is selected: drag over the timeline, or set `selection = (start, end)`.")
        start, end = self.selection
        heard, own = np.concatenate(list(pieces(self.recording, start, end)), 1)
        last = min(turn_hearing(max(end - 1e-9, 0.0)) + 1, self.recording.turns)
        words = tuple(word for word in self.recording.said() if word[1] < end and word[2] > start)
        return Selection(start, end, range(min(turn_hearing(start), last), last), heard, own, words)

    # ---- export

    def export(self, path: str | Path, selection: bool = False) -> Path:
        """Write a file; its name says what kind: `.TextGrid` (Praat, ELAN), `.wav` (left heard, right own voice),
        `.mp4`, `.html` (this timeline as a page that needs nothing else), `.zip` (the `Recording`: `talk.tml.zip`).

        Args:
            selection: only what is selected; sound, film and tiers.

        Raises RecordingError, in one sentence, and leaves no half file; ValueError when nothing is selected.
        """
        span = None
        if selection:
            if self.selection is None:
                raise ValueError("nothing is selected: drag over the timeline, or set `selection = (start, end)`.")
            span = self.selection
        view = {"t": self.t, "selection": self.selection, "view": self.view, "theme": self.theme, "size": self.size}
        more = {"lanes": self._lanes, "heard": self.heard, "title": self.title, "view": view}
        return export(self.recording, Path(path), span, **more)

    # ---- what the page asks for

    def _on_message(self, _: Any, content: Any, buffers: list[Any]) -> None:
        answer = self._answers.get(str(content.get("kind"))) if isinstance(content, dict) else None
        if answer is not None:
            answer(content)

    def _reply(self, content: dict[str, Any], reply: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        self.send({"answers": content.get("asks"), **reply}, list(buffers))

    def _on_content(self, content: dict[str, Any]) -> None:
        header, buffers = timeline_content(self.recording, self._lanes, self.title)
        self._reply(content, {"header": header | {"exports": list(KINDS)}}, buffers)

    def _on_tile(self, content: dict[str, Any]) -> None:
        try:
            tiles = self._lanes[content["lane"]].tiles
            found = [tiles.tile(content["level"], content["index"])] if tiles is not None else []
        except (KeyError, IndexError, TypeError):  # of another version of the page
            found = []
        self._reply(content, {}, found)

    def _on_sound(self, content: dict[str, Any]) -> None:
        start = BLOCK_SECONDS * float(content.get("block", 0))
        sound = np.zeros((2, BLOCK_SECONDS * SAMPLE_RATE), np.float32)
        at = 0
        for piece in pieces(self.recording, start, start + BLOCK_SECONDS):
            sound[:, at : at + piece.shape[1]] = piece
            at += piece.shape[1]
        samples = np.round(np.nan_to_num(sound) * 32767).clip(-32768, 32767).astype("<i2")
        self._reply(content, {}, [samples.tobytes()])

    def _on_export(self, content: dict[str, Any]) -> None:
        """Beside everything else: a film takes a while."""
        threading.Thread(target=self._export_to_folder, args=(content,), name="tml-export", daemon=True).start()

    def _export_to_folder(self, content: dict[str, Any]) -> None:
        try:
            suffix = KINDS[content["what"]]
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.title) or "timeline"
            path = self.export(self.save_to / f"{stem}{suffix}", bool(content.get("selection")))
            text = f"Written: {path}"
        except KeyError:
            text = "This kind of file is not known here."
        except (RecordingError, ValueError) as error:
            text = str(error)
        self._reply(content, {"text": text})
