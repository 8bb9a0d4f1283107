"""What is in the room beside the user: people who speak other languages, and sounds without words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio
from tml_lab.worlds.human_sources import Recipe, Source, Take, person, read
from tml_lab.worlds.humans import Split

_SPANISH_DIGITS = (
    "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce", "trece",
    "catorce", "quince",
)  # fmt: skip


def _phrases(speaker: str, pattern: str, seconds: float, *options: str) -> Recipe:
    """A recipe: phrases of 2 to 7 s evenly spread over the files that match, up to `seconds` in all."""

    def takes(root: Path) -> Iterator[Take]:
        paths = sorted(root.glob(pattern))
        step, total = 0.6180339887, 0.0  # golden ratio: any prefix of the walk covers the whole list
        for number in range(len(paths)):
            audio = read(paths[int((number * step % 1) * len(paths))], *options)
            if 2 * SAMPLE_RATE <= len(audio) <= 7 * SAMPLE_RATE:
                total += len(audio) / SAMPLE_RATE
                yield Take(speaker, "", audio)
            if total > seconds:
                return

    return takes


def _foreign(
    package: str, version: str, licence: str, author: str, split: Split, language: str, recipe: Recipe
) -> Source:
    speakers = {language: person(None, "studio")}
    return Source(
        package, "debian", version, licence, author, split, "foreign", speakers, recipe, squeeze=0.8
    )


def _spanish(folder: str, speaker: str, *options: str, suffix: str) -> Recipe:
    def takes(root: Path) -> Iterator[Take]:
        for value, word in enumerate(_SPANISH_DIGITS):
            path = root / folder / f"{value}.{suffix}"
            if path.is_file():
                yield Take(speaker, word, read(path, *options))

    return takes


_SOUNDS = "usr/share/asterisk/sounds"
FOREIGN: tuple[Source, ...] = (
    _foreign("asterisk-core-sounds-es-g722", "1.6.1-1", "CC-BY-SA-3.0", "Allison Smith, Digium", "train", "es",
             _phrases("es", f"{_SOUNDS}/es_MX_f_Allison/*.g722", 45, "-f", "g722")),
    _foreign("asterisk-core-sounds-fr-g722", "1.6.1-1", "CC-BY-SA-3.0", "June Wallack", "train", "fr",
             _phrases("fr", f"{_SOUNDS}/fr_CA_f_June/*.g722", 45, "-f", "g722")),
    _foreign("asterisk-core-sounds-it-g722", "1.6.1-1", "CC-BY-SA-3.0", "Carlo Flora", "train", "it",
             _phrases("it", f"{_SOUNDS}/it_IT_m_Carlo/*.g722", 45, "-f", "g722")),
    _foreign("asterisk-core-sounds-ru-g722", "1.6.1-1", "CC-BY-3.0", "Maxim Topal (ivrvoice.ru)", "train", "ru",
             _phrases("ru", f"{_SOUNDS}/ru_RU_f_IvrvoiceRU/*.g722", 45, "-f", "g722")),
    _foreign("fillets-ng-data-nl", "1.0.1-1.1", "GPL-2+", "the Fish Fillets NG translators", "human", "nl",
             _phrases("nl", "usr/share/games/fillets-ng/sound/*/nl/*.ogg", 60)),
    _foreign("fillets-ng-data-cs", "1.0.1-1.1", "GPL-2+", "ALTAR interactive", "human", "cs",
             _phrases("cs", "usr/share/games/fillets-ng/sound/*/cs/*.ogg", 60)),
)  # fmt: skip

SPANISH_WORDS: tuple[Source, ...] = (
    Source(
        "asterisk-core-sounds-es-g722", "debian", "1.6.1-1", "CC-BY-SA-3.0", "Allison Smith, Digium", "train",
        "humans_train", {"allison-es": person("f", "studio")},
        _spanish(f"{_SOUNDS}/es_MX_f_Allison/digits", "allison-es", "-f", "g722", suffix="g722"),
    ),
    Source(
        "asterisk-prompt-es-co", "debian", "0.20070403-2.1", "GPL-2", "Avatar Ltda., July E. Jiménez", "human",
        "humans_heldout", {"es-co": person("f", "telephone")},
        _spanish(f"{_SOUNDS}/es/digits", "es-co", suffix="gsm"),
    ),
)  # fmt: skip


def _no_words(*patterns: str, longest: float = 4.0, most: int = 80) -> Recipe:
    """A recipe: the files that match, each cut to `longest` seconds with a fade, at most `most` of them."""

    def takes(root: Path) -> Iterator[Take]:
        paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
        for path in paths[:: max(1, len(paths) // most)]:
            audio: Audio = read(path)[: int(longest * SAMPLE_RATE)].copy()
            fade = min(len(audio), SAMPLE_RATE // 20)
            audio[len(audio) - fade :] *= [1 - i / fade for i in range(fade)]
            if len(audio) > SAMPLE_RATE // 20:
                yield Take(path.stem, path.stem.lower(), audio, trim=False)

    return takes


def _noise(package: str, version: str, licence: str, author: str, recipe: Recipe) -> Source:
    return Source(package, "debian", version, licence, author, "train", "noise", {}, recipe, squeeze=0.7)


NOISE: tuple[Source, ...] = (
    _noise("scratch", "1.4.0.6~dfsg1-6.1", "GPL-2 / MIT", "MIT Media Lab",
           _no_words("usr/share/scratch/Media/Sounds/Human/*.*", "usr/share/scratch/Media/Sounds/Effects/*.*")),
    _noise("bucklespring-data", "1.4.0-2", "GPL-2", "Ico Doornekamp", _no_words("usr/share/bucklespring/wav/*.wav",
                                                                               "usr/share/buckle/wav/*.wav", most=60)),
)  # fmt: skip
BACKGROUND = FOREIGN + SPANISH_WORDS + NOISE
