"""From rendered episodes to batches: turn layout, feature-level augmentation, targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import (
    FRAMES_PER_TURN,
    OUT_DIM,
    OUT_FRAMES_PER_TURN,
    OUT_TOKENS_PER_TURN,
    VIDEO_SIZE,
)  # fmt: skip
from tml_lab.model.interaction import Tokens
from tml_lab.model.text import AUDIO, DELEGATE, SILENT, SPEAK, TextTokenizer
from tml_lab.signal.out_mel import quantize_voice
from tml_lab.stream.layout import MAX_REQUEST, NO_TARGET, Layout, Stream, TurnTokens, lay_out
from tml_lab.train.overdue import put_off
from tml_lab.train.pictures import PICTURES, Film, n_patches
from tml_lab.train.shards import Rendered, read_shard
from tml_lab.train.sight import scene_targets
from tml_lab.train.vary import as_heard
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.reply_voice import reply_mel
from tml_lab.worlds.seen.film import SIZES, SceneFilm, scene_patches

MIXED = 16  # files whose episodes are sorted by length together: the more, the fuller the batches
GOLDEN = (5**0.5 - 1) / 2
CAMERA_TURNS = 200  # the longest episode that is seen as well as heard
# tokens of a row: few shapes, so that each is prepared once, and multiples of attention's block
ROW_LENGTHS = (64, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048)


@dataclass
class Batch:
    """`tokens`: all positions of all rows end to end, rows padded to `shape = (batch, tokens)`.

    `target [batch * tokens]` text ids or NO_TARGET; `voice_from [n]` flat positions whose hidden state conditions
    `voice_target [n, 320]` (normalised output mel). `frames [batch, most frames]`: flat positions of each row's
    audio_in tokens, of which `n_frames [batch]` count; `words`: ids of the words heard, all rows end to end,
    `n_words [batch]` of each. `n_turns`: turns in the batch, padding left out. `films`: what the camera shows in each
    row; `to` draws them, and `tokens.patches` is there only then. `shown [patches drawn]` bool: which of them are seen;
    None: all. `sight [patches seen, ...]`: what is to be made out in them (`scene_targets`), where there are scenes.
    """

    tokens: Tokens
    shape: tuple[int, int]
    target: Tensor
    voice_from: Tensor
    voice_target: Tensor
    frames: Tensor
    n_frames: Tensor
    words: Tensor
    n_words: Tensor
    n_turns: int
    films: list[Film | SceneFilm] = field(default_factory=list)
    shown: Tensor | None = None
    sight: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device, with its pictures drawn."""
        moved: dict[str, Any] = {name: None if t is None else t.to(device) for name, t in vars(self.tokens).items()}
        rest = {name: t.to(device) for name, t in vars(self).items() if isinstance(t, Tensor)}
        scenes = [film for film in self.films if isinstance(film, SceneFilm)]
        if self.films:
            moved["patches"] = self._shown(drawn(self.films, device))
        if scenes and len(scenes) == len(self.films):
            rest["sight"] = self._shown(scene_targets(scenes, device))
        return replace(self, tokens=Tokens(**moved), films=[], **rest)

    def _shown(self, patches: Tensor) -> Tensor:
        """Those of the patches drawn that are seen."""
        return patches if self.shown is None else patches[self.shown.to(patches.device)]


def voice_tokens(word: str, k: int) -> Tensor:
    """The four audio_out tokens of turn k of a spoken word: `[4, 320]` normalised output mel."""
    frames = reply_mel(word)[k * OUT_FRAMES_PER_TURN : (k + 1) * OUT_FRAMES_PER_TURN]  # [16, 80]
    return frames.reshape(OUT_TOKENS_PER_TURN, OUT_DIM)


def episode_layout(
    episode: Rendered, tokenizer: TextTokenizer, first_turn: int, seen: int = 0
) -> tuple[Layout, Tensor]:
    """The turn layout of an episode, `seen` patches of a picture a turn, and its voice targets `[n audio_out, 320]`."""
    silent, speak = tokenizer.id(SILENT), tokenizer.id(SPEAK)
    numbers = episode.numbers or range(episode.n_turns)
    turns = [TurnTokens(decision=silent, n_patches=seen, number=number) for number in numbers]
    for turn in episode.unseen:
        turns[turn].n_patches = 0
    for turn, text in episode.typed:
        turns[turn].text_in += tokenizer.encode(text)
    voice = []
    for turn, word, k in episode.speaking:
        words = [tokenizer.id(word)] if k == 0 else []
        turns[turn].decision, turns[turn].words, turns[turn].speaks = speak, words, True
        voice.append(voice_tokens(word, k))
    for turn, request in episode.asking:
        asks = turns[turn]
        asks.decision, asks.words, asks.asks = tokenizer.id(DELEGATE), tokenizer.encode(request)[:MAX_REQUEST], True
    layout = lay_out(turns, tokenizer.id(AUDIO), first_turn)
    late = np.isin(layout.turn, [first_turn + numbers[turn] for turn in episode.missed])
    layout.target[late & (layout.target == silent)] = speak  # due still, though it was silent there
    if episode.excused_from is not None:  # it could not be heard: whatever is said from there on is right
        layout.target[layout.turn >= first_turn + numbers[episode.excused_from]] = NO_TARGET
    return layout, torch.cat(voice) if voice else torch.zeros(0, OUT_DIM)


def draw_first_turn(rng: np.random.Generator) -> int:
    """Sessions start at turn 0, yet the clock must be readable hours later."""
    kind = rng.uniform()
    if kind < 0.4:
        return 0
    return int(rng.integers(0, 3_000 if kind < 0.9 else 100_000))


def row_length(n: int) -> int:
    """How long the rows of a batch are in which the longest has `n` tokens."""
    return next((length for length in ROW_LENGTHS if length >= n), -(-n // 512) * 512)


def count_tokens(episode: Rendered, seen: int = 0) -> int:
    """Tokens of an episode's layout, or a few more, `seen` patches a turn."""
    typed = sum(len(text.split()) for _, text in (*episode.typed, *episode.asking))
    return episode.n_turns * (FRAMES_PER_TURN + 1 + seen) + len(episode.speaking) * (OUT_TOKENS_PER_TURN + 1) + typed


def film_of(episode: Rendered, video: tuple[int, int], rng: np.random.Generator) -> Film | SceneFilm:
    """What the camera shows meanwhile: the episode's scene, each time in another light, or pictures of no concern."""
    seed = int(rng.integers(1 << 31))
    if episode.scene is None:
        return Film(episode.n_turns, video, seed)
    return SceneFilm(video, replace(episode.scene, seed=seed))


def shown_patches(episode: Rendered, seen: int) -> Tensor:
    """Which of an episode's patches are seen, `seen` a turn: bool `[turns * seen]`."""
    turns = torch.ones(episode.n_turns, dtype=torch.bool)
    turns[episode.unseen] = False
    return turns.repeat_interleave(seen)


def drawn(films: Sequence[Film | SceneFilm], device: torch.device) -> Tensor:
    """What all rows of a batch see, row after row: `[patches, 2, 40, 40, 3]`, drawn on the device."""
    scenes = [film for film in films if isinstance(film, SceneFilm)]
    if len(scenes) == len(films):
        return scene_patches(scenes, device)
    return torch.cat([film.patches(device) for film in films if isinstance(film, Film)])


def collate(
    episodes: Sequence[Rendered], tokenizer: TextTokenizer, rng: np.random.Generator,
    video: tuple[int, int] | None = None,
) -> Batch:
    """Lay out, augment, quantise and pad a batch of episodes; `video`: with the camera on, pictures of that size."""
    seen = n_patches(video) if video else 0
    laid = [episode_layout(e, tokenizer, draw_first_turn(rng), seen) for e in episodes]
    films = [film_of(e, video, rng) for e in episodes] if video else []
    longest = row_length(max(len(layout.stream) for layout, _ in laid))
    rows = len(laid)
    columns = {
        "stream": torch.full((rows, longest), 3),
        "token": torch.zeros(rows, longest, dtype=torch.long),
        "turn": torch.zeros(rows, longest, dtype=torch.long),
        "slot": torch.ones(rows, longest, dtype=torch.long),
        "target": torch.full((rows, longest), NO_TARGET),
    }
    voice_from = []
    for i, (layout, _) in enumerate(laid):
        if episodes[i].family == DICTATION:  # what to say there is nobody's business: the listening head learns
            layout.target[:] = NO_TARGET
        for name, column in columns.items():
            values = getattr(layout, name)
            column[i, : len(values)] = torch.from_numpy(values)
        voice_from.append(torch.from_numpy(layout.voice_from) + i * longest)
    heard = torch.cat([as_heard(e, rng) for e in episodes])  # [frames of all rows, 80]
    voice = torch.cat([v for _, v in laid])  # [n audio_out, 320]
    # the history is made worse than it was, the target is not: errors of the mouth must not add up (CALM)
    history = voice + torch.from_numpy(rng.normal(0.0, 0.15, voice.shape).astype(np.float32))
    flat = {name: column.flatten() for name, column in columns.items()}
    first = flat["slot"] == 0
    tokens = Tokens(flat["stream"], flat["token"], flat["turn"], first, heard, quantize_voice(history))
    # a row in which a sentence was lost says nothing of what its words sound like
    n_frames = torch.tensor([len(e.mel) if e.excused_from is None else 0 for e in episodes])
    where = [(columns["stream"][i] == Stream.AUDIO_IN).nonzero().flatten() + i * longest for i in range(rows)]
    spoken = [e.heard if e.excused_from is None else [] for e in episodes]
    words = [[tokenizer.vocab.get(word, tokenizer.id("<unk>")) for word in some] for some in spoken]
    shown = torch.cat([shown_patches(e, seen) for e in episodes])  # [patches of all rows]
    return Batch(
        tokens, (rows, longest), flat["target"], torch.cat(voice_from), voice,
        torch.nn.utils.rnn.pad_sequence(where, batch_first=True), n_frames,
        torch.tensor([i for row in words for i in row], dtype=torch.long), torch.tensor([len(row) for row in words]),
        sum(e.n_turns for e in episodes), films,
        None if shown.all() else shown,
    )  # fmt: skip


class Feed:
    """Endless batches from the shards of a folder; new shards are picked up as they appear.

    Setting `folder` to another lesson's takes effect with the next batch.
    """

    def __init__(
        self, folder: Path, tokenizer: TextTokenizer, seed: int, budget: int = 6_000, camera_seed: int = 0,
        camera_share: float = 0.3, camera_budget: float = 0.5, late_share: float = 0.0,
    ) -> None:
        self.folder, self.tokenizer, self.budget = folder, tokenizer, budget
        self.camera_share, self.camera_budget, self.late_share = camera_share, camera_budget, late_share
        self.rng = np.random.default_rng(seed)
        self.camera = np.random.default_rng(camera_seed)
        self.made = 0  # batches

    def skip(self, n_steps: int) -> None:
        """Go on with other draws than those of the first `n_steps` batches."""
        for rng in (self.rng, self.camera):
            bits: Any = rng.bit_generator
            bits.advance(n_steps)
        self.made = n_steps

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self._lesson(self.folder)

    def _lesson(self, folder: Path) -> Iterator[Batch]:
        """Every episode of one folder once, in random order, unless the lesson changes or new files come before."""
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise ValueError(f"no training episodes in {folder}: `tml train` renders them")
        order = self.rng.permutation(len(paths))
        for i in range(0, len(order), MIXED):
            pool = [e for j in order[i : i + MIXED] for e in read_shard(paths[j])]
            for group in self._in_step(self._groups(pool)):
                if self.folder != folder:
                    return
                self.made += 1
                yield collate(*self._camera([put_off(e, self.late_share, self.rng) for e in group]))
            if len(list(folder.glob("*.safetensors"))) > len(paths):
                return

    def _camera(
        self, group: list[Rendered]
    ) -> tuple[list[Rendered], TextTokenizer, np.random.Generator, tuple[int, int] | None]:
        """The camera is on where there is something to see, and now and then where there is not: up to three times the
        tokens, so for fewer and shorter episodes.

        All processes draw alike, so that none waits for another's long rows.
        """
        chance, which = self.camera.uniform(), self.camera.uniform()
        longest = max(e.n_turns for e in group)
        if group[0].scene is not None:
            return group, self.tokenizer, self.rng, SIZES[int(which * len(SIZES))]
        if chance >= self.camera_share or longest > CAMERA_TURNS:
            return group, self.tokenizer, self.rng, None
        size = PICTURES[int(which * len(PICTURES))]
        length = row_length(max(count_tokens(e, n_patches(size)) for e in group))
        return group[: max(1, int(self.camera_budget * self.budget / length))], self.tokenizer, self.rng, size

    def _groups(self, pool: list[Rendered]) -> list[list[Rendered]]:
        """Episodes of like length together, `budget` tokens to a batch; those without scenes first, then by size."""
        groups: list[tuple[tuple[bool, int, int], list[Rendered]]] = []
        for seen in (False, True):
            patches = n_patches(VIDEO_SIZE) if seen else 0
            some = sorted((e for e in pool if (e.scene is not None) == seen), key=lambda e: count_tokens(e, patches))
            for group in grouped(some, patches, self.budget):
                size = len(group) * row_length(count_tokens(group[-1], patches))
                groups.append(((seen, size, sum(e.n_turns for e in group)), group))
        drawn = [groups[i] for i in self.rng.permutation(len(groups))]  # among groups of a size any order
        return [group for _, group in sorted(drawn, key=lambda entry: entry[0])]

    def _in_step(self, groups: list[list[Rendered]]) -> Iterator[list[Rendered]]:
        """All groups, large and small by turns: at each step other processes, which have other episodes, take one of
        about this size, or the faster one would wait for the slower. Which size is due the number of the step says, by
        multiples of the golden ratio, which spread evenly."""
        while groups:
            yield groups.pop(int(self.made * GOLDEN % 1.0 * len(groups)))


def grouped(episodes: Sequence[Rendered], patches: int, budget: int) -> Iterator[list[Rendered]]:
    """Neighbours together as long as their rows, as long as the last one's, keep to `budget` tokens."""
    group: list[Rendered] = []
    for episode in episodes:
        if group and (len(group) + 1) * row_length(count_tokens(episode, patches)) > budget:
            yield group
            group = []
        group.append(episode)
    if group:
        yield group
