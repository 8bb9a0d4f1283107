"""Where a live session's input comes from: the browser's microphone and camera, or a recorded clip.

Both deliver the same `Chunk`s into the same queue, so nothing behind the queue knows the difference.
`open_source` picks one: the microphone when a browser shows the notebook, a recorded clip when there is none
(tests, servers).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.serve.chunk_queue import Chunk, ChunkQueue
from tml_lab.signal.audio import read_audio
from tml_lab.stream.clock import heard_start, turn_hearing
from tml_lab.stream.recording import Inputs, Recording

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_CLIPS = REPOSITORY / "data" / "recordings" / "demo"
FIRST_CLIP = "repeat_numbers"  # it asks for something, so that who only presses play hears the model answer
SOUND_FILES = (".wav", ".flac", ".ogg")
AFTER_CLIP = 3.0  # seconds of silence after a clip, in which its last answer is heard


@dataclass(frozen=True)
class Microphone:
    """The browser's microphone and, if wanted, its camera.

    Args:
        camera: begin with the camera on; its button switches it at any time.
        headphones: True when the model's voice cannot reach the microphone; the browser's echo canceller is
            then left out, and the sound arrives untouched.
    """

    camera: bool = False
    headphones: bool = False

    def constraints(self) -> dict[str, object]:
        """What `getUserMedia` is asked for: without automatic gain and noise suppression."""
        audio = {"echoCancellation": not self.headphones, "noiseSuppression": False, "autoGainControl": False}
        video = {"width": {"ideal": 320}, "height": {"ideal": 240}, "frameRate": {"ideal": 15}}
        return {"audio": audio, "video": video if self.camera else False}


@dataclass(frozen=True, eq=False)
class Clip:
    """A recorded clip.

    Args:
        name: what the list of clips shows.
        inputs: sound, typed words and pictures.
        heard: `(start, end, words)` in seconds, a transcript where one is known.
    """

    name: str
    inputs: Inputs
    heard: tuple[tuple[float, float, str], ...] = ()

    @staticmethod
    def load(path: str | Path) -> Clip:
        """A sound file (with its transcript in a JSON file of the same name, if there) or a saved Recording, as a
        folder or as one file.

        The JSON file may hold "title", "segments" (a list of {"start", "end", "text"}, seconds) and "typed"
        (a list of [seconds, words]).
        """
        path = Path(path)
        if path.is_dir() or path.suffix == ".zip":
            name = path.name.removesuffix(".zip").removesuffix(".tml")
            return Clip(name.replace("_", " "), Recording.load(path).inputs)
        about: dict = {}
        if path.with_suffix(".json").is_file():
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        typed = tuple((turn_hearing(float(at)), str(words)) for at, words in about.get("typed", ()))
        heard = tuple((float(s["start"]), float(s["end"]), str(s["text"])) for s in about.get("segments", ()))
        name = str(about.get("title") or path.stem.replace("_", " "))
        return Clip(name, Inputs(read_audio(path), typed), heard)

    def words_ending_in(self, turn: int) -> str:
        """The transcript's words whose end falls into this turn."""
        start, end = heard_start(turn), heard_start(turn + 1)
        return " ".join(words for _, stop, words in self.heard if start < stop <= end)

    def chunks(self, after: float = AFTER_CLIP) -> Iterator[Chunk]:
        """The clip turn by turn, then `after` seconds of silence."""
        silence = np.zeros(TURN_SAMPLES, np.float32)
        for turn in range(self.inputs.turns + round(after / TURN_SECONDS)):
            if turn < self.inputs.turns:
                yield Chunk(turn, *self.inputs.turn(turn))
            else:
                yield Chunk(turn, silence)


def demo_clips(folder: Path = DEMO_CLIPS) -> dict[str, Path]:
    """The recorded clips that ship with the lab, `{name: path}`; the first is the one that is played by default."""
    if not folder.is_dir():
        return {}
    paths = [path for path in folder.iterdir() if path.is_dir() or path.suffix in SOUND_FILES]
    paths.sort(key=lambda path: (path.stem != FIRST_CLIP, path.name))
    return {_clip_name(path): path for path in paths}


def _clip_name(path: Path) -> str:
    about = path.with_suffix(".json")
    if path.is_file() and about.is_file():
        return str(json.loads(about.read_text(encoding="utf-8")).get("title") or path.stem.replace("_", " "))
    return path.stem.replace("_", " ")


def has_front_end() -> bool:
    """Whether a browser or editor shows this notebook (as far as the environment tells).

    Jupyter's server names the notebook to the kernels it starts, and Voila itself; nbconvert, nbval and plain Python do
    neither.
    Set TML_HEADLESS=1 or =0 to decide by hand.
    """
    by_hand = os.environ.get("TML_HEADLESS")
    if by_hand is not None:
        return by_hand in ("", "0")
    if os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        return True
    return any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"))


def open_source(clip: str | Path | None = None, camera: bool = False) -> Microphone | Clip:
    """The microphone (and camera) when somebody sits before a browser, else a recorded clip.

    Args:
        clip: the recording to take without a browser: a file or a name of `demo_clips()`. None: the first
            one.
        camera: begin with the camera on.

    Raises FileNotFoundError when there is neither a browser nor a recording.
    """
    if has_front_end():
        return Microphone(camera=camera)
    clips = demo_clips()
    if clip is None and not clips:
        raise FileNotFoundError(
            f"There is no browser here and no recorded clip in {DEMO_CLIPS}; give clip=FILE."
        )
    path = next(iter(clips.values())) if clip is None else clips.get(str(clip), Path(clip))
    return Clip.load(path)


class ClipPlayer:
    """Puts a clip's chunks into a queue at the pace of real time, as a microphone would.

    Args:
        clip: what to play.
        queue: where the chunks go.
        sounding: called with each chunk when it *begins* to sound, a turn before it is complete.
        finished: called after the last chunk.
    """

    def __init__(
        self, clip: Clip, queue: ChunkQueue, sounding: Callable[[Chunk], None], finished: Callable[[], None]
    ) -> None:
        self.clip, self.queue = clip, queue
        self._sounding, self._finished = sounding, finished
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, name="tml-live-clip", daemon=True)

    def start(self) -> None:
        """Begin now."""
        self._thread.start()

    def stop(self) -> None:
        """Break off; `finished` is not called."""
        self._stopped.set()

    def _play(self) -> None:
        begin = time.monotonic()
        for chunk in self.clip.chunks():
            self._sounding(chunk)
            # Turn n is complete, and may be heard by the model, at 0.2 (n + 1) seconds.
            if self._stopped.wait(max(0.0, begin + heard_start(chunk.seq + 1) - time.monotonic())):
                return
            chunk.arrived = time.monotonic()
            self.queue.put(chunk)
        self._finished()
