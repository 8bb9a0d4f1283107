"""espeak-ng inside this process: about 1000 times faster than real time, the work horse of the training bank.

The shared library and its data come from PyPI `espeakng-loader` (GPL-3; a tool, its output is free). Two
details of espeak make its output depend on what was said before: the pitch flutter and the roughness both run
on counters that are never reset. The bank promises the same audio for the same request, so the data folder is
copied once into the cache with these two, and the echo, switched off for every voice; the bank adds its own
variety and rooms.
Source: espeak-ng `src/libespeak-ng/wavegen.c` (`AdvanceParameters`, `Wavegen`).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import soxr

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio, cache_dir
from tml_lab.worlds.style import Style

ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc",
)  # fmt: skip
UNINTELLIGIBLE = ("ian", "shelby", "kaukovalta", "RicishayMax", "RicishayMax2", "RicishayMax3")
# robosoft2 and robosoft7 leave state behind that changes what is said next; anikaRobot is anika over again.
DROPPED = (*UNINTELLIGIBLE, "robosoft2", "robosoft7", "anikaRobot")
FEMALE = (
    "Alicia", "Andrea", "Annie", "anika", "aunty", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma",
    "linda", "steph", "steph2", "steph3", "whisperf",
)  # fmt: skip
LANGUAGES = {"en": "en-us", "es": "es", "fr": "fr", "de": "de", "it": "it"}

_WORDS_PER_MINUTE = 175
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER in speak_lib.h
_SYNCHRONOUS, _UTF8 = 2, 1
_DATA_VERSION = "v2"


def _copy_data(source: Path, target: Path) -> None:
    """Copy what the bank's languages need, with flutter, roughness and echo off.

    Safe to race: the last one wins.
    """
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    names = ["phondata", "phonindex", "phontab", "intonations", "phondata-manifest"]
    for name in names + [f"{language}_dict" for language in LANGUAGES]:
        shutil.copy(source / name, draft / name)
    for family in ("gmw", "roa"):  # West Germanic, Romance
        shutil.copytree(source / "lang" / family, draft / "lang" / family)
    shutil.copytree(source / "voices" / "!v", draft / "voices" / "!v")
    for variant in (draft / "voices" / "!v").iterdir():
        lines = variant.read_text(encoding="utf-8", errors="replace").splitlines()
        # Roughness 8 is past the last step: then trills do not count glottal cycles either.
        kept = [line for line in lines if line.split()[:1] not in (["flutter"], ["roughness"], ["echo"])]
        variant.write_text("\n".join([*kept, "flutter 0", "roughness 8", ""]), encoding="utf-8")
    try:
        draft.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(draft, ignore_errors=True)


class Espeak:
    """One espeak-ng per process (the library keeps its state in globals)."""

    name = "espeak"
    how_to_get = "pip install espeakng-loader"

    def __init__(self) -> None:
        """Raises ImportError where espeakng-loader is not installed, RuntimeError where it does not start."""
        import espeakng_loader

        source = Path(espeakng_loader.get_data_path())
        data = cache_dir() / f"espeak-ng-data-{_DATA_VERSION}"
        if not data.is_dir():
            _copy_data(source, data)
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = int(self.library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 1 << 15))
        if self.rate <= 0:
            raise RuntimeError(
                f"espeak-ng did not start with its data in {data}; delete that folder and try again."
            )
        self.variants = tuple(
            sorted(p.name for p in (data / "voices" / "!v").iterdir() if p.name not in DROPPED)
        )
        self._chunks: list[bytes] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._collect)  # a reference, or ctypes would free it
        self.library.espeak_SetSynthCallback(self._callback)
        self._libc = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
        # At full volume loud voices wake an automatic gain, and it remembers them in what is said next.
        self.library.espeak_SetParameter(_VOLUME, 50, 0)
        self._lock = threading.Lock()

    def _collect(self, samples: object, count: int, _events: object) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        return 0

    def sex(self, variant: str) -> str:
        return "female" if variant in FEMALE else "male"

    def synth(self, text: str, variant: str, accent: str, style: Style) -> Audio:
        """Speak `text` (any language espeak's `accent` reads) as `variant`.

        Formants are warped by reading espeak's samples at another rate; its rate and pitch make up for it.
        Returns: f32 [n] at 16 kHz, not trimmed. Raises: ValueError for an unknown accent or variant.
        """
        warp = style.warp
        words_per_minute = int(np.clip(_WORDS_PER_MINUTE * style.rate / warp, 80, 400))
        pitch = int(np.clip(50 + 50 * np.log2(style.pitch / warp), 0, 99))  # 50 steps are about an octave
        with self._lock:
            self._chunks.clear()
            call = self.library
            if call.espeak_SetVoiceByName(f"{accent}+{variant}".encode()) != 0:
                raise ValueError(
                    f"espeak-ng knows no voice {accent!r}+{variant!r}; see espeak's `--voices=variant`."
                )
            call.espeak_SetParameter(_RATE, words_per_minute, 0)
            call.espeak_SetParameter(_PITCH, pitch, 0)
            call.espeak_SetParameter(_RANGE, int(np.clip(50 * style.liveliness, 0, 99)), 0)
            call.espeak_ng_SetRandSeed(ctypes.c_long(1))
            self._libc.srand(ctypes.c_uint(1))  # breath noise is drawn with C's rand()
            raw = text.encode()
            call.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8, None, None)
            pcm = np.frombuffer(b"".join(self._chunks), np.int16)
        return soxr.resample(pcm.astype(np.float32) / 32768, self.rate * warp, SAMPLE_RATE, "MQ")
