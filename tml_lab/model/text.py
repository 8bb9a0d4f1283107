"""The text vocabulary: special tokens, whole closed-world words, and single letters for everything else."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFD, Lowercase, Sequence, StripAccents
from tokenizers.pre_tokenizers import BertPreTokenizer

SILENT, SPEAK, DELEGATE, TOOL = "<silent>", "<speak>", "<delegate>", "<tool>"
DECISIONS = (SILENT, SPEAK, DELEGATE, TOOL)
AUDIO = "<audio>"  # predicted after the last word of a turn: no more words, sound follows. Never fed back
SPECIALS = ("<pad>", *DECISIONS, AUDIO, "<unk>")

_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_words(n: int) -> str:
    """`42 -> "forty two"`, for 0..999."""
    if n < 20:
        return _SMALL[n]
    if n < 100:
        return _TENS[n // 10] + (f" {_SMALL[n % 10]}" if n % 10 else "")
    rest = f" {number_words(n % 100)}" if n % 100 else ""
    return f"{_SMALL[n // 100]} hundred{rest}"


def plain(text: str) -> str:
    """Letters without their accents: `"fünf"` is `"funf"`, `"weiß"` is `"weiss"`."""
    parts = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    return "".join(c for c in parts if not unicodedata.combining(c))


def normalise_text(text: str) -> str:
    """Lower case without accents, digits and signs as words, no other punctuation: `"What is 2+3?"` is `"what is two
    plus three"`."""
    text = plain(text.lower()).replace("’", "'").replace("'", "")
    text = re.sub(r"(?<=\d)\s*\+\s*(?=\d)", " plus ", text)
    text = re.sub(r"(?<=\d)\s*-\s*(?=\d)", " minus ", text)
    text = re.sub(r"\d+", lambda m: f" {number_words(int(m[0]))} " if len(m[0]) <= 3 else m[0], text)
    return " ".join(re.sub(r"[^\w<>]+", " ", text).split())


class TextTokenizer:
    """Words to ids and back; a word of the closed world is one id, any other is spelled with letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab: dict[str, int] = tokenizer.get_vocab()
        self.names = [name for name, _ in sorted(self.vocab.items(), key=lambda item: item[1])]

    @staticmethod
    def build(words: Iterable[str]) -> TextTokenizer:
        """A tokenizer whose whole words are `words` (each lower-case, one word)."""
        letters = list(string.ascii_lowercase + string.digits)
        whole = sorted(set(words) - set(letters))
        return TextTokenizer._of([*SPECIALS, *letters, *(f"##{c}" for c in letters), *whole])

    @staticmethod
    def _of(names: list[str]) -> TextTokenizer:
        model = WordPiece({name: i for i, name in enumerate(names)}, unk_token="<unk>", max_input_chars_per_word=40)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = Sequence([NFD(), StripAccents(), Lowercase()])
        tokenizer.pre_tokenizer = BertPreTokenizer()
        tokenizer.decoder = WordPieceDecoder()
        return TextTokenizer(tokenizer)

    def with_words(self, words: Iterable[str]) -> TextTokenizer:
        """The same ids, and further ones after them for those of `words` that are not whole yet."""
        return TextTokenizer._of([*self.names, *sorted(set(words) - set(self.names))])

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.names)

    def encode(self, text: str) -> list[int]:
        """Ids of `text` after `normalise_text`."""
        return self.tokenizer.encode(normalise_text(text), add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, special tokens left out."""
        return self.tokenizer.decode([i for i in ids if self.names[i] not in SPECIALS])

    def id(self, name: str) -> int:
        """The id of a special token or a whole word. Raises KeyError naming a word the vocabulary has not."""
        if name not in self.vocab:
            raise KeyError(f"{name!r} is not a whole word of this vocabulary of {self.size} tokens")
        return self.vocab[name]

    def save(self, path: Path) -> None:
        """Write `tokenizer.json` in the `tokenizers` library's format."""
        self.tokenizer.save(str(path))

    @staticmethod
    def load(path: Path) -> TextTokenizer:
        """Read `tokenizer.json`."""
        return TextTokenizer(Tokenizer.from_file(str(path)))
