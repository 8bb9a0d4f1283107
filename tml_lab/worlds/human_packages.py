"""The packages that hold recordings of people who speak English, and who says what in each.

What "seven" is called in a package (`7.au`, `s7.ogg`, `digits/7.g722`) is written down here once.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from tml_lab.worlds.human_sources import (
    NUMBER_WORDS,
    WORD_OF,
    Recipe,
    Source,
    Take,
    cut_words,
    one_speaker,
    person,
    plain,
    read,
)
from tml_lab.worlds.lexicon import COLOURS, OPPOSITES

TRAIN, HELD_OUT = "humans_train", "humans_heldout"
_ODD = re.compile(r"\b(beep|tone|silence|sound|pause)\b")


def _asterisk(root: Path) -> Iterator[Take]:
    """Allison Smith's telephone prompts; number words are also cut out of her sentences, for other melodies."""
    listing = gzip.decompress(next(root.glob("usr/share/doc/*/core-sounds-en.txt.gz")).read_bytes())
    lines = (
        line.partition(":") for line in listing.decode("utf-8", "replace").splitlines() if line[:1] != ";"
    )
    texts = {name.strip(): text for name, colon, text in lines if colon}
    sounds = next(root.glob("usr/share/asterisk/sounds/en_US_f_Allison"))
    for path in sorted(sounds.rglob("*.g722")):
        name = str(path.relative_to(sounds).with_suffix(""))
        digit = WORD_OF.get(path.stem) if name.startswith("digits/") else None
        text = digit or plain(texts.get(name, ""))
        if not text or _ODD.search(text) or name.startswith("silence/"):
            continue
        audio = read(path, "-f", "g722")
        yield Take("allison", text, audio)
        if " " in text and NUMBER_WORDS & set(text.split()) and len(audio) < 25 * 16000:
            for word, clip in cut_words(audio, text, NUMBER_WORDS):
                yield Take("allison", word, clip)


_TILE = {"b": "bamboo", "c": "character", "s": "circle"}
_MAHJONGG = {
    "dr": "red dragon", "dg": "green dragon", "db": "blue dragon", "we": "east", "ws": "south", "ww": "west",
    "wn": "north", "nochoice": "no choice", "dangerousgame": "dangerous game", "kong": "kong", "pung": "pung",
    "originalcall": "original call", "violatesoriginalcall": "violates original call", "mahjongg": "mahjongg",
    "chow": "chow",
}  # fmt: skip
_MAHJONGG_PEOPLE = {
    "kajongg-female1": person("f", "room"), "kajongg-female2": person("f", "room"),
    "kajongg-male1": person("m", "room"), "kajongg-male2": person("m", "room"),
}  # fmt: skip


def _kajongg(root: Path) -> Iterator[Take]:
    """Four people name the tiles of Mah Jongg: "bamboo one" .. "circle nine"; the number is cut out of each."""
    for speaker in _MAHJONGG_PEOPLE:
        folder = root / "usr/share/kajongg/voices" / speaker.removeprefix("kajongg-")
        for path in sorted(folder.glob("*.ogg")):
            audio, name = read(path), path.stem
            if name in _MAHJONGG:
                text = _MAHJONGG[name]
            elif name[0] in _TILE and name[1:] in WORD_OF:
                text = f"{_TILE[name[0]]} {WORD_OF[name[1:]]}"
            else:
                continue
            yield Take(speaker, text, audio)
            if " " in text:
                for word, clip in cut_words(audio, text, NUMBER_WORDS | set(COLOURS)):
                    yield Take(speaker, word, clip)


_NATO = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec "
    "romeo sierra tango uniform victor whiskey xray yankee zulu"
)
_CONTEST = {chr(97 + i): word for i, word in enumerate(_NATO.split())} | {
    "again": "again", "roger": "roger", "thankyou": "thank you", "mynumber": "my number", "yourcall": "your call",
    "cq": "cq contest", "k6gte": "kilo six golf tango echo", "73": "seventy three",
}  # fmt: skip

_HAM = "victor kilo five quebec italy"
_CODEC2 = {
    "vk5qi": (f"this is {_HAM} {_HAM} testing one two three four five five four three two one", "m"),
    "forig": ("don't throw trash on the street", "f"),
    "morig": ("that frog jumped through the weeds", "m"),
    "hts1a": ("the navy attacked the big task force", "m"),
    "hts2a": ("these days a chicken leg is a rare dish", "f"),
    "mmt1": ("it's easy to tell the depth of a well", "m"),
    "big_dog": ("the big dog loved to chew on the old rag doll", "m"),
}


def _codec2(root: Path) -> Iterator[Take]:
    """Sentences that try a telephone codec, and a radio amateur who counts to five and back."""
    for name, (text, _sex) in _CODEC2.items():
        audio = read(root / f"usr/share/codec2/wav/{name}.wav")
        yield Take(f"codec2-{name}", text, audio)
        for word, clip in cut_words(audio, text, NUMBER_WORDS):
            yield Take(f"codec2-{name}", word, clip)


_SPHINX = {
    "tidigits/dhd.2934z.raw": ("sphinx-dhd", "two nine three four zero"),
    "numbers.raw": ("sphinx-numbers", "thirty three four six ninety two"),
    "goforward.raw": ("sphinx-goforward", "go forward ten meters"),
    "something.raw": ("sphinx-numbers", "go somewhere and do something"),
    "cards/001.wav": ("sphinx-cards", "ten of clubs"),
    "cards/002.wav": ("sphinx-cards", "four queen of clubs"),
    "cards/003.wav": ("sphinx-cards", "seven of clubs"),
    "cards/004.wav": ("sphinx-cards", "five five"),
    "cards/005.wav": ("sphinx-cards", "eight of spades four of clubs seven of hearts"),
}


def _sphinx(root: Path) -> Iterator[Take]:
    """Test recordings of the recogniser PocketSphinx: numbers, playing cards, commands, and an audio book."""
    data = root / "usr/share/pocketsphinx/test/data"
    for name, (speaker, text) in _SPHINX.items():
        raw = ("-f", "s16le", "-ar", "16000", "-ac", "1") if name.endswith(".raw") else ()
        audio = read(data / name, *raw)
        yield Take(speaker, text, audio)
        for word, clip in cut_words(audio, text, NUMBER_WORDS | {"go"}):
            yield Take(speaker, word, clip)
    for line in (data / "librivox/transcription").read_text().splitlines():
        text, name = re.fullmatch(r"<s> (.*?) </s> \((.*)\)", " ".join(line.split())).groups()  # type: ignore[union-attr]
        yield Take("librivox-austen", text, read(data / f"librivox/{name}.wav"))


def _words(speaker: str, pattern: str) -> Recipe:
    """A recipe: one word or phrase a file, named by the file ("ice_cream.ogg")."""
    return one_speaker(speaker, pattern, lambda stem: plain(stem.removesuffix("_desc").replace("_", " ")))


def _alsa(root: Path) -> Iterator[Take]:
    """A woman names the loudspeakers: "front left" .. "side right"."""
    for path in sorted((root / "usr/share/sounds/alsa").glob("*_*.wav")):
        audio, text = read(path), path.stem.replace("_", " ").lower()
        yield Take("alsa", text, audio)
        for word, clip in cut_words(
            audio, text, set(OPPOSITES) | {"left", "right", "front", "rear", "side", "center"}
        ):
            yield Take("alsa", word, clip)


_SCID = {
    "x": "takes", "Back": "back", "Check": "check", "King": "king", "Queen": "queen", "Knight": "knight",
    "Rook": "rook", "Bishop": "bishop", "Mate": "checkmate", "CastleK": "castle king side",
    "CastleQ": "castle queen side",
}  # fmt: skip
_SAYTIME = {"the_time_is": "the time is", "oclock": "o'clock", "am": "a m", "pm": "p m"}


def _digit_or_letter(stem: str) -> str:
    return WORD_OF.get(stem, stem)


_POOL = "http://deb.debian.org/debian/pool/main"

ENGLISH: tuple[Source, ...] = (
    Source(
        "asterisk-core-sounds-en-g722", "debian", "1.6.1-1", "CC-BY-SA-3.0",
        "Allison Smith (theivrvoice.com), Digium", "train", TRAIN, {"allison": person("f", "studio")}, _asterisk,
        ("asterisk-core-sounds-en",), squeeze=0.7,
    ),
    Source(
        "kajongg", "debian", "4:22.12.3-1", "GPL-2+", "Wolfgang Rohdewald", "train", TRAIN, _MAHJONGG_PEOPLE, _kajongg,
    ),
    Source(
        "not1mm", "pypi", "26.10.26", "GPL-3", "Michael Bridak (K6GTE)", "train", TRAIN, {"k6gte": person("m", "room")},
        one_speaker("k6gte", "not1mm/data/phonetics/*.wav", lambda s: WORD_OF.get(s) or _CONTEST.get(s)),
    ),
    Source(
        "csmash-data", "debian", "0.6.6-6.9", "GPL-2+", "Kanna Yoshihiro", "train", TRAIN,
        {"csmash": person("m", "room")},
        one_speaker("csmash", "usr/share/games/csmash/wav/*.wav", lambda s: s if s in NUMBER_WORDS else None),
    ),
    Source(
        "captcha", "pypi", "0.7.1", "BSD-3-Clause", "Hsiaoming Yang", "train", TRAIN,
        {"captcha": person("m", "telephone")},
        lambda root: (
            Take("captcha", WORD_OF[path.parent.name], read(path))
            for path in sorted(root.glob("captcha/data/[0-9]/default.wav"))
        ),
    ),
    Source(
        "spokennumbers", "pypi", "1.0.0", "MIT", "Daniel Andersson", "train", TRAIN,
        {"spokennumbers": person("f", "room")},
        one_speaker("spokennumbers", "spokennumbers/default/[0-9].wav", WORD_OF.get),
    ),
    Source(
        "scid-data", "debian", "1:4.7.4+dfsg1-2", "GPL-2", "Shane Hudson and the Scid authors", "train", TRAIN,
        {"scid": person("m", "room")},
        one_speaker("scid", "usr/share/scid/sounds/*.wav", lambda s: WORD_OF.get(s) or _SCID.get(s)),
    ),
    Source(
        "codec2-examples", "debian", "1.0.5-1", "LGPL-2.1", "David Rowe and contributors", "train", TRAIN,
        {f"codec2-{name}": person(sex, "telephone") for name, (_, sex) in _CODEC2.items()}, _codec2,
    ),
    Source(
        "pocketsphinx-testdata", "debian", "0.8+5prealpha+1-15", "BSD-2-Clause", "Carnegie Mellon University", "train",
        TRAIN,
        {name: person("m", "room") for name in ("sphinx-dhd", "sphinx-numbers", "sphinx-goforward", "sphinx-cards")}
        | {"librivox-austen": person("f", "room", "LibriVox reader")}, _sphinx,
    ),
    Source(
        "alsa-utils", "debian", "1.2.8-1", "GPL-2+", "the ALSA project", "train", TRAIN,
        {"alsa": person("f", "studio")}, _alsa,
    ),
    Source(
        "qabcs-data", "debian", "1.0.2-6", "GPL-3+", "Alexander Danilov (DanSoft)", "train", TRAIN,
        {"qabcs": person(None, "room")}, _words("qabcs", "usr/share/qabcs/abcs/en/sounds/words/*.ogg"), squeeze=0.7,
    ),
    Source(
        "ktuberling-data", "debian", "4:22.12.3-1", "GPL-2+", "the KTuberling authors", "train", TRAIN,
        {"ktuberling": person(None, "room")},
        one_speaker(
            "ktuberling", "usr/share/ktuberling/sounds/en/*.ogg", lambda s: plain(s.split("_")[-1]),
        ), squeeze=0.7,
    ),
    Source(
        "tuxpaint-stamps-default", "debian", "2022.06.04-1", "GPL-2+", "the Tux Paint authors", "train", TRAIN,
        {"tuxpaint": person(None, "room")}, _words("tuxpaint", "usr/share/tuxpaint/stamps/**/*_desc.ogg"), squeeze=0.7,
    ),
    Source(
        "saytime", "debian", "1.0-35", "GPL", "David C Dawson", "human", HELD_OUT, {"dawson": person("m", "telephone")},
        one_speaker(
            "dawson", "usr/share/saytime/*.au", lambda s: WORD_OF.get(s) or _SAYTIME.get(s, s),
            "-f", "mulaw", "-ar", "8000", "-ac", "1",
        ),
    ),
    Source(
        "bambam", "debian", "1.4.1+dfsg-1", "LGPL-2.1", "Voxeo Corporation", "human", HELD_OUT,
        {"voxeo": person("f", "telephone")},
        one_speaker("voxeo", "usr/share/bambam/extensions/alphanumeric-en_US/sounds/*.ogg", _digit_or_letter),
        url=f"{_POOL}/b/bambam/bambam_1.4.1+dfsg-1_all.deb",
    ),
)  # fmt: skip
