"""`LiveSession`: talk to the model through the browser's microphone and watch it decide.

The browser sends 200 ms chunks of sound and pictures, one thread steps the model, and what it says goes back
with one message per turn. The page draws the strip; this class holds the session and its recording.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import anywidget
import ipywebrtc
import numpy as np
import traitlets as t
from ipywidgets import Widget, widget_serialization

from tml_lab.background.calculator import ToolError
from tml_lab.background.colleague import Assisted, with_colleague
from tml_lab.background.panel import Item
from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.edits import Edit
from tml_lab.interp.live import Live, Reader, check_readers
from tml_lab.model.state import State
from tml_lab.serve.chunk_queue import Chunk, ChunkQueue
from tml_lab.serve.handle import Handle
from tml_lab.stream.clock import turn_hearing
from tml_widgets import subshells
from tml_widgets.esm import link
from tml_widgets.live_worker import KERNEL, LiveWorker, SessionLike
from tml_widgets.protocol import heard_message, read_chunk
from tml_widgets.row import Row
from tml_widgets.sources import Clip, ClipPlayer, Microphone, demo_clips
from tml_widgets.understands import may_ask, understands_of, what_was_taught

STATIC = Path(__file__).parent / "static"
ONE_FILE = ".tml.zip"  # what a recording is shared as


class LiveSession(anywidget.AnyWidget):
    """A live conversation with an interaction model.

    Args:
        model: a checkpoint's name or path ("nano"), whose sessions remember by `usual_policy()`, or a function that
            makes a fresh session (`SessionLike`).
        source: `open_source()`; a `Microphone`, or a `Clip` that is offered first under "play a recording".
        save_to: the folder that gets one file per saved session.
        seed: of the sessions made from a checkpoint.
        colleague: True: what a session asks (`<delegate>`) is answered by the built-in tools; or a function that puts
            one's own background model beside a session (`with_colleague`). Its tasks and its panel stand beside the
            strip. None: True for a checkpoint that was taught to ask, as "nano-everything" was, on a server, too.

    In a notebook, show it and press Start. Without a browser, `play(clip, realtime=False)` does the same with
    a clip. Afterwards `turns` lists what happened turn by turn and `recording` is the `Recording`.
    """

    _esm = link(STATIC / "live_session.js")
    _css = (STATIC / "live_session.css").read_text(encoding="utf-8")

    stream = t.Instance(Widget, allow_none=True).tag(sync=True, **widget_serialization)
    model_name = t.Unicode().tag(sync=True)
    clips = t.List(t.Unicode()).tag(sync=True)
    understands = t.List().tag(sync=True)
    heads = t.List(t.Int(), help="number of heads of each layer").tag(sync=True)
    camera = t.Bool(False).tag(sync=True)
    elsewhere = t.Bool(False, help="whether the model may run on a server").tag(sync=True)
    colleague = t.Bool(False, help="whether there is a place for tasks and panel").tag(sync=True)

    def __init__(
        self,
        model: str | Path | Callable[[], SessionLike] = "nano",
        source: Microphone | Clip | None = None,
        save_to: str | Path = "recordings",
        seed: int = 0,
        colleague: bool | Callable[[Any], Assisted] | None = None,
    ) -> None:
        self.source = source or Microphone()
        microphone = self.source if isinstance(self.source, Microphone) else Microphone()
        self._clips: dict[str, Path | Clip] = dict(demo_clips())
        if isinstance(source, Clip):
            self._clips = {source.name: source, **self._clips}
        named = isinstance(model, str | Path)
        taught = what_was_taught(str(model)) if named else "heard"
        self._may_ask = not named and colleague is None  # what was taught elsewhere is known when it has begun
        colleague = taught == "everything" if colleague is None else colleague
        super().__init__(
            stream=ipywebrtc.CameraStream(constraints=microphone.constraints()),
            model_name=str(model) if named else "model",
            clips=list(self._clips),
            understands=understands_of(taught),
            camera=microphone.camera,
            elsewhere=not named,
            colleague=bool(colleague),
        )
        self._factory = (
            _Checkpoint(str(model), seed, self._heads_known) if isinstance(model, str | Path) else model
        )
        self._queue = ChunkQueue()
        self._assist = with_colleague if colleague is True else colleague or None
        self._worker = LiveWorker(self._make_session, self._queue, self._emit, assist=self._with_colleague)
        self._player: ClipPlayer | None = None
        self._save_to = Path(save_to)
        self._saves: list[Path] = []
        self.browser: dict[str, Any] = {}
        self.needed_subshell_fix = subshells.handle_on_subshell(self.comm)
        self._handlers = {
            "hello": self._on_hello, "start": self._on_start, "stop": self._on_stop, "play": self._on_play,
            "chunk": self._on_chunk, "type": self._on_type, "pick": self._on_pick, "save": self._on_save,
            "stats": self._on_state, "state": self._on_state, "cancel": self._on_cancel, "tick": self._on_tick,
            "pause": self._on_pause, "resume": self._on_resume, "rewind": self._on_rewind,
        }  # fmt: skip
        self.on_msg(self._on_message)

    def _make_session(self) -> SessionLike:
        session = self._factory()
        if isinstance(session, Handle):
            self._heads_known(list(session.heads))  # which asks the server, so once
        if self._may_ask and may_ask(session):
            self._may_ask, self._assist = False, with_colleague
            self.colleague, self.understands = True, understands_of("everything")
        return self._with_colleague(session)

    def _with_colleague(self, session: SessionLike) -> SessionLike:
        return self._assist(session) if self._assist is not None else session

    def _emit(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        self.send(content, buffers)

    def _heads_known(self, heads: list[int]) -> None:
        self.heads = heads

    @property
    def phase(self) -> str:
        """stopped, loading, live, paused, playing or error."""
        return self._worker.phase

    @property
    def notice(self) -> str:
        """The last thing the widget had to say in plain words."""
        return self._worker.notice

    @property
    def checkpoint(self) -> tuple[Any, Any]:
        """`(model, tokenizer)` of the sessions, for `replay`. Raises RuntimeError before the first session."""
        loaded = getattr(self._factory, "loaded", None)
        if loaded is None:
            raise RuntimeError("No checkpoint is loaded yet: start a session first.")
        return loaded

    @property
    def turns(self) -> list[Row]:
        """One `Row` per turn of the current or last session."""
        return list(self._worker.rows)

    @property
    def recording(self) -> Any:
        """The `Recording` of the current or last session. Raises RuntimeError when there was none."""
        if self._worker.session is None:
            raise RuntimeError("There is no session yet: press Start, or call play(clip).")
        return self._worker.session.recording()

    @property
    def before(self) -> Any:
        """The `Recording` of the session before the current or last one; None when there was none."""
        return None if self._worker.before is None else self._worker.before.recording()

    @property
    def panel(self) -> tuple[Item, ...]:
        """What the colleague has drawn beside the conversation so far."""
        return self._worker.beside.assisted.board.items if self._worker.beside is not None else ()

    def cancel(self, task: int) -> None:
        """Call a background task off; in the next turn it is gone."""
        if self._worker.beside is not None:
            self._worker.beside.assisted.cancel(task)

    def type(self, text: str) -> None:
        """Type words to the model; the next turn carries them."""
        if text.strip():
            self._queue.type(text.strip())

    def pick(self, layer: int, head: int) -> None:
        """Choose the head whose attention the strip shows."""
        self._worker.attention = (int(layer), int(head))

    def play(self, clip: str | Path | Clip | None = None, realtime: bool = True) -> None:
        """Play a recording to the model instead of the microphone.

        Args:
            clip: a name of `clips`, a file, or a `Clip`; None: the first of `clips`.
            realtime: at the pace of real time, in the background. False: as fast as the model goes, and
                return when it is done.
        """
        found = self._find(clip)
        self.stop()
        if realtime:
            self._player = ClipPlayer(found, self._queue, self._sounding, self._clip_over)
            self._worker.begin("playing", self._player.start)
            return
        self._worker.begin("playing")
        for chunk in found.chunks():
            self._queue.put_blocking(chunk)
        self._worker.end()
        self.wait()

    def run(self) -> None:
        """Start, where that needs no person: a clip given as `source` is played through at once.

        With a microphone as source nothing happens here: the person presses Start.
        """
        if isinstance(self.source, Clip):
            self.play(self.source, realtime=False)

    def timeline(self) -> Any:
        """The last session on one time axis, as a plotly figure; before the first one a printed sentence, and None."""
        if not self._worker.rows:
            print("Nothing has happened yet: press Start and talk, or play a recording; then run this again.")
            return None
        from tml_lab.plot.timeline import timeline

        return timeline(self.recording)

    def attach(self, readers: Mapping[str, Reader], edits: Sequence[Edit] = ()) -> None:
        """Look inside while it runs: each reader's number, turn by turn, on the strip and in `turns`; edits steer.

        From the next turn on and in later sessions, until `detach()`. See `tml_lab.interp.live` for readers (`lens`,
        `along`). Raises InterpError for a layer that the model has not, or an edit it cannot be given.
        """
        model, _ = self.checkpoint
        check_readers(model.cfg, readers, edits)
        self._worker.attach(lambda session: Live(session, readers, edits))

    def detach(self) -> None:
        """Take readers and edits away again, from the next turn on."""
        self._worker.attach(None)

    def rewind(self, at: int | float, page: str = KERNEL) -> None:
        """Go back to before a turn (a whole number) or a second (a float), and wait there.

        What goes on from there has the same past, to the bit, and another future; the recording of what came after is
        `before`. A colleague's tasks are called off, and its panel is empty. Where it cannot go back, `notice` says
        why.
        """
        self._hush()
        turn = int(at) if isinstance(at, int) else turn_hearing(at)
        self._worker.rewind(turn, page, self._kept_state, lambda: self._gone_back(turn))

    def _kept_state(self, turn: int) -> State | None:
        """A state of the session at or before a turn; None: none was kept."""
        return None

    def _gone_back(self, turn: int) -> None:
        """What is no longer there is forgotten; called in the worker's thread."""

    def stop(self) -> None:
        """End the session; its recording can still be saved."""
        self._hush()
        if self.phase not in ("stopped", "error"):
            self._worker.end()

    def _hush(self) -> None:
        """No clip plays any more."""
        if self._player is not None:
            self._player.stop()
            self._player = None

    def save(self, path: str | Path | None = None) -> Path:
        """Save the session as a `Recording` (between two turns); returns where it goes.

        Args:
            path: a folder, or a file that ends in `.zip`, as one shares it; None: a new `live-....tml.zip` in
                `save_to`.
        """
        path = self._free_path() if path is None else Path(path)
        self._saves.append(path)
        self._worker.save(path)
        return path

    def _free_path(self) -> Path:
        """Named by the time; two saves within a second are not to write into one file."""
        name = datetime.now().strftime("live-%Y%m%d-%H%M%S")
        names = (self._save_to / f"{name if n == 1 else f'{name}-{n}'}{ONE_FILE}" for n in itertools.count(1))
        return next(path for path in names if path not in self._saves and not path.exists())

    def wait(self, seconds: float = 600.0) -> None:
        """Wait until the model has done everything asked so far. Raises TimeoutError after `seconds`."""
        self._worker.drain(seconds)

    def close(self) -> None:
        """End the session and free the microphone and the thread."""
        self.stop()
        self._worker.close()
        if isinstance(self.stream, Widget):
            self.stream.close()
        super().close()

    def _find(self, clip: str | Path | Clip | None) -> Clip:
        if isinstance(clip, Clip):
            return clip
        if clip is None:
            if not self._clips:
                raise FileNotFoundError("There is no recorded clip to play; give a file.")
            clip = next(iter(self._clips))
        known = self._clips.get(str(clip), Path(clip))
        return known if isinstance(known, Clip) else Clip.load(known)

    def _sounding(self, chunk: Chunk) -> None:
        """A clip's chunk begins to sound: the browser plays it, so that the room hears it too."""
        clip = self._player.clip if self._player else None
        words = clip.words_ending_in(chunk.seq) if clip else ""
        self._emit(*heard_message(chunk, words))

    def _clip_over(self) -> None:
        self._player = None
        self._worker.end("The recording is over.")

    def _on_message(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        handler = self._handlers.get(content.get("kind", ""))
        if handler is not None:
            handler(content, buffers)

    def _on_chunk(self, content: dict[str, Any], buffers: list[Any]) -> None:
        if self._worker.held:
            return  # it was on its way when the session was asked to wait
        self._worker.stand_still(False)  # sound that comes by itself takes a waiting session up
        self._queue.put(read_chunk(content, buffers))

    def _on_hello(self, content: dict[str, Any], _: list[Any]) -> None:
        self.browser |= content
        if self.phase == "live":  # a page was loaded anew: its microphone is gone, and opens only at a click
            self._worker.pause("The page was loaded anew, so the session waits: press Go on.")
        else:
            self._worker.status(self.phase, self.notice)
        self._worker.command(self._worker.tell_all)
        if isinstance(self._factory, _Checkpoint):
            self._worker.command(self._factory.warm_up)  # so that Start need not wait for it

    def _on_start(self, _: dict[str, Any], __: list[Any]) -> None:
        self._hush()
        self._worker.begin("live", lambda: self._emit({"kind": "ready", "sent": time.time()}))

    def _on_pause(self, content: dict[str, Any], _: list[Any]) -> None:
        self._worker.pause(str(content.get("notice", "")), str(content.get("page") or "a page"))

    def _on_resume(self, content: dict[str, Any], _: list[Any]) -> None:
        """Go on with the session that waits, from the chunk that the page will number `seq`."""
        seq = int(content["seq"])
        self._worker.resume(lambda: self._emit({"kind": "ready", "sent": time.time(), "seq": seq}))

    def _on_rewind(self, content: dict[str, Any], _: list[Any]) -> None:
        self.rewind(int(content["turn"]), str(content.get("page") or "a page"))

    def _on_play(self, content: dict[str, Any], _: list[Any]) -> None:
        try:
            self.play(content.get("clip"))
        except (OSError, ValueError) as error:
            self._worker.status("error", f"This recording cannot be played: {error}")

    def _on_stop(self, _: dict[str, Any], __: list[Any]) -> None:
        self.stop()

    def _on_save(self, _: dict[str, Any], __: list[Any]) -> None:
        self.save()

    def _on_type(self, content: dict[str, Any], _: list[Any]) -> None:
        self.type(str(content.get("text", "")))

    def _on_pick(self, content: dict[str, Any], _: list[Any]) -> None:
        self.pick(content["layer"], content["head"])

    def _on_cancel(self, content: dict[str, Any], _: list[Any]) -> None:
        self.cancel(int(content["id"]))

    def _on_tick(self, content: dict[str, Any], _: list[Any]) -> None:
        if self._worker.beside is not None:
            with suppress(ToolError):  # it has been taken away meanwhile
                self._worker.beside.tick(str(content["id"]), int(content["entry"]), bool(content["done"]))

    def _on_state(self, content: dict[str, Any], _: list[Any]) -> None:
        self.browser |= content


class _Checkpoint:
    """Makes sessions from a checkpoint, which is loaded once and warmed up by one silent turn."""

    def __init__(self, name: str, seed: int, heads_known: Callable[[list[int]], None]) -> None:
        self.name, self.seed, self.heads_known = name, seed, heads_known
        self.loaded: tuple[Any, Any] | None = None

    def __call__(self) -> SessionLike:
        from tml_lab.stream.session import Session
        from tml_lab.worlds.remembered import usual_policy

        return Session(*self._load(), seed=self.seed, policy=usual_policy())

    def warm_up(self) -> None:
        """Load the checkpoint ahead of time; what is wrong with it is said when a session is asked for."""
        with suppress(OSError, ValueError):
            self._load()

    def _load(self) -> tuple[Any, Any]:
        from tml_lab.model.checkpoint import load_checkpoint
        from tml_lab.stream.session import Session

        if self.loaded is None:
            model, tokenizer = load_checkpoint(self.name)
            Session(model, tokenizer).step(np.zeros(TURN_SAMPLES, np.float32))  # a model's first turn is slow
            self.heads_known(list(model.cfg.heads_by_layer))
            self.loaded = model, tokenizer
        return self.loaded
