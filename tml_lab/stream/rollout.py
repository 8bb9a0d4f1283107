"""Many sessions at once, turn by turn, on recorded input: what benchmarks run on.

The same turn procedure as `Session`, with the rows of a batch in step; a row that speaks goes on alone
for its words and its four audio_out tokens, then joins the others again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN, TURN_SAMPLES
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.state import State, new_state
from tml_lab.model.text import AUDIO, DECISIONS, DELEGATE, SPEAK, SPECIALS, TextTokenizer
from tml_lab.signal.dmel import dmel
from tml_lab.signal.out_mel import quantize_voice
from tml_lab.signal.patches import frames_to_patches, n_patches
from tml_lab.stream.layout import MAX_REQUEST, MAX_WORDS, Stream
from tml_lab.stream.voice import turn_noise

Decide = Callable[[int, Tensor], Tensor]
"""`(turn, p_speak [rows]) -> bool [rows]`: overrides the model's own decisions (the VAD harness is one)."""
Colleague = Callable[[int, int, str], Sequence[tuple[int, str]]]
"""`(row, turn, request) -> (turn, text)...`: what comes back to a request, as typed text, in later turns."""
ROOM = 256  # tokens for requests and what comes back


@dataclass
class Heard:
    """The input of one row. `audio`: f32 [turns * 3200]; `typed`: (turn, text); `frames`: uint8 [turns, 2, H, W, 3],
    None without a camera."""

    audio: np.ndarray
    typed: list[tuple[int, str]] = field(default_factory=list)
    frames: np.ndarray | None = None

    def n_patches(self, turn: int) -> int:
        """How many patches are seen in a turn."""
        if self.frames is None or turn >= len(self.frames):
            return 0
        return n_patches(*self.frames.shape[2:4])


@dataclass
class Run:
    """What one row did. `words`: (turn, word); `p_speak`, `speaks`: [turns]; `voice`: turn -> [16, 80]
    output mel; `requests`: (turn, what the background model was asked); `watched`: turn -> the probability that the
    watched word is the first one, in turns in which it spoke."""

    words: list[tuple[int, str]] = field(default_factory=list)
    p_speak: list[float] = field(default_factory=list)
    speaks: list[bool] = field(default_factory=list)
    voice: dict[int, Tensor] = field(default_factory=dict)
    requests: list[tuple[int, str]] = field(default_factory=list)
    watched: dict[int, float] = field(default_factory=dict)


class _Rows:
    """The batch while it runs: one state for all rows, and each row's token that has not been fed yet."""

    def __init__(
        self, model: InteractionModel, tokenizer: TextTokenizer, inputs: Sequence[Heard], seed: int
    ) -> None:
        self.model, self.tokenizer, self.inputs = model, tokenizer, inputs
        self.device = next(model.parameters()).device
        self.n_turns = max(len(i.audio) for i in inputs) // TURN_SAMPLES
        typed = max((sum(len(tokenizer.encode(t)) for _, t in i.typed) for i in inputs), default=0)
        seen = max(i.n_patches(0) for i in inputs)
        longest = self.n_turns * (FRAMES_PER_TURN + 1 + MAX_WORDS + OUT_TOKENS_PER_TURN + seen) + typed + ROOM
        self.state = new_state(model.cfg, len(inputs), self.device, max_tokens=longest)
        self.heard = [dmel(torch.from_numpy(i.audio)) for i in inputs]  # each [turns * 4, 80]
        self.left: list[int | Tensor | None] = [None] * len(
            inputs
        )  # a text id, or the bins of an audio_out token
        self.seed = seed
        self.watch: int | None = None
        self.first: Tensor | None = None  # the watched word's probability as the first one, of the rows that speak
        self.not_a_word = [tokenizer.id(name) for name in SPECIALS if name != AUDIO]
        self.text = [
            {t: tokenizer.encode(" ".join(s for u, s in i.typed if u == t)) for t, _ in i.typed}
            for i in inputs
        ]

    def sub_state(self, rows: Tensor) -> State:
        return {name: tensor[rows] for name, tensor in self.state.items()}

    def put_back(self, rows: Tensor, state: State) -> None:
        for name, tensor in state.items():
            self.state[name][rows] = tensor

    def feed(self, state: State, streams: list[int], turn: int, token: Tensor, heard: Tensor | None = None,
             voice: Tensor | None = None, first: int = -1, patches: Tensor | None = None) -> Tensor:  # fmt: skip
        """Append the same kinds of tokens to every row of `state`: `token [rows, n]` -> hidden `[rows, n,
        d_model]`."""
        rows, n = token.shape
        stream = torch.tensor(streams, device=self.device).repeat(rows)  # [rows * n]
        is_first = torch.zeros(n, dtype=torch.bool, device=self.device)
        if first >= 0:
            is_first[first] = True
        turns = torch.full((rows * n,), turn, device=self.device)
        tokens = Tokens(stream, token.flatten(), turns, is_first.repeat(rows), heard, voice, patches)
        return self.model(self.model.embed(tokens).view(rows, n, -1), state)

    def listen(self, turn: int) -> Tensor:
        """Feed what was left over and what this turn heard; hidden state of the last audio_in: `[rows,
        d_model]`."""
        out = torch.zeros(len(self.inputs), self.model.cfg.d_model, device=self.device)
        groups: dict[tuple[str, int, int], list[int]] = {}
        for row, left in enumerate(self.left):
            kind = "none" if left is None else "text" if isinstance(left, int) else "voice"
            alike = (kind, len(self.text[row].get(turn, [])), self.inputs[row].n_patches(turn))
            groups.setdefault(alike, []).append(row)
        for (kind, n_text, n_seen), members in groups.items():
            rows = torch.tensor(members, device=self.device)
            lead = {"none": [], "text": [int(Stream.TEXT_OUT)], "voice": [int(Stream.AUDIO_OUT)]}[kind]
            seen = [int(Stream.VIDEO_IN)] * n_seen
            streams = [*lead, *[int(Stream.TEXT_IN)] * n_text, *seen, *[int(Stream.AUDIO_IN)] * FRAMES_PER_TURN]
            token = torch.zeros(len(members), len(streams), dtype=torch.long, device=self.device)
            for i, row in enumerate(members):
                if kind == "text":
                    token[i, 0] = self.left[row]  # pyright: ignore[reportArgumentType]
                if n_text:
                    token[i, len(lead) : len(lead) + n_text] = torch.tensor(self.text[row][turn])
            voice = torch.stack([self.left[r] for r in members]) if kind == "voice" else None  # type: ignore[misc]
            heard = torch.cat([self.frames(row, turn) for row in members]).to(self.device)
            patches = self.patches(members, turn) if n_seen else None
            every = len(members) == len(self.inputs)
            state = self.state if every else self.sub_state(rows)
            hidden = self.feed(state, streams, turn, token, heard, voice, len(lead), patches)
            if not every:
                self.put_back(rows, state)
            out[rows] = hidden[:, -1]
        return out

    def patches(self, members: list[int], turn: int) -> Tensor:
        """What these rows see in a turn: `[rows * P, 2, 40, 40, 3]`, the same size of picture in all of them."""
        pictures = [self.inputs[row].frames[turn] for row in members]  # pyright: ignore[reportOptionalSubscript]
        return torch.cat([frames_to_patches(pair) for pair in pictures]).to(self.device)

    def answer(self, row: int, results: Sequence[tuple[int, str]]) -> None:
        """Let a row read `(turn, text)` later on."""
        for turn, text in results:
            self.text[row][turn] = self.text[row].get(turn, []) + self.tokenizer.encode(text)

    def frames(self, row: int, turn: int) -> Tensor:
        """The four dMel frames of a turn: `[4, 80]`; silence after the row's input has ended."""
        frames = self.heard[row][turn * FRAMES_PER_TURN : (turn + 1) * FRAMES_PER_TURN]
        if len(frames) < FRAMES_PER_TURN:
            frames = torch.cat([frames, frames.new_zeros(FRAMES_PER_TURN - len(frames), frames.shape[1])])
        return frames

    def words(self, turn: int, decision: str, rows: Tensor, state: State, most: int) -> tuple[list[list[int]], Tensor]:
        """Feed the decision and up to `most` words; each row's words, and the hidden states `[rows, d_model]`."""
        audio = self.tokenizer.id(AUDIO)
        token = torch.full((len(rows), 1), self.tokenizer.id(decision), device=self.device)
        hidden = self.feed(state, [int(Stream.TEXT_OUT)], turn, token)[:, -1]  # [rows, d_model]
        wordy = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        found: list[list[int]] = [[] for _ in rows]
        for nth in range(most):
            logits = self.model.text_logits(hidden)
            logits[:, self.not_a_word] = -torch.inf
            if nth == 0 and self.watch is not None:
                self.first = logits.float().softmax(-1)[:, self.watch]  # [rows]
            choice = logits.argmax(-1)  # [rows]
            wordy &= choice != audio
            if not wordy.any():
                break
            members = wordy.nonzero(as_tuple=True)[0]
            part = {name: tensor[members] for name, tensor in state.items()}
            hidden[members] = self.feed(part, [int(Stream.TEXT_OUT)], turn, choice[members, None])[:, -1]
            for name, tensor in part.items():
                state[name][members] = tensor
            for i in members.tolist():
                found[i].append(int(choice[i]))
        return found, hidden

    def ask(self, turn: int, rows: Tensor, runs: list[Run]) -> list[tuple[int, str]]:
        """A request to the background model, for the rows that delegate; returns `(row, request)` of each."""
        state = self.sub_state(rows)
        found, _ = self.words(turn, DELEGATE, rows, state, MAX_REQUEST)
        self.put_back(rows, state)
        asked = [(int(row), self.tokenizer.decode(ids)) for row, ids in zip(rows, found, strict=True)]
        for row, request in asked:
            runs[row].requests.append((turn, request))
            self.left[row] = None
        return asked

    def speak(self, turn: int, rows: Tensor, runs: list[Run], keep_voice: bool) -> None:
        """Words, then four audio_out tokens, for the rows that speak."""
        state = self.sub_state(rows)
        found, hidden = self.words(turn, SPEAK, rows, state, MAX_WORDS)
        if self.first is not None:
            for row, p in zip(rows.tolist(), self.first.tolist(), strict=True):
                runs[row].watched[turn] = p
        for row, ids in zip(rows.tolist(), found, strict=True):
            runs[row].words += [(turn, self.tokenizer.decode([i])) for i in ids]
        mels = []
        noise = turn_noise(self.seed, turn).to(self.device)  # [4, 320]: what a session with this seed draws
        for k in range(OUT_TOKENS_PER_TURN):
            mel = self.model.flow.sample(
                hidden, noise[k].expand(len(rows), -1), self.model.cfg.flow_steps, self.model.cfg.flow_temperature
            )  # [rows, 320]
            mels.append(mel)
            bins = quantize_voice(mel)
            if k < OUT_TOKENS_PER_TURN - 1:
                blank = torch.zeros(len(rows), 1, dtype=torch.long, device=self.device)
                hidden = self.feed(state, [int(Stream.AUDIO_OUT)], turn, blank, voice=bins)[:, -1]
            else:
                for i, row in enumerate(rows.tolist()):
                    self.left[row] = bins[i]
        self.put_back(rows, state)
        if keep_voice:
            voices = torch.stack(mels, 1).view(len(rows), -1, 80).cpu()  # [rows, 16, 80]
            for i, row in enumerate(rows.tolist()):
                runs[row].voice[turn] = voices[i]


@torch.no_grad()
def rollout(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    inputs: Sequence[Heard],
    seed: int = 0,
    decide: Decide | None = None,
    keep_voice: bool = False,
    colleague: Colleague | None = None,
    watch: int | None = None,
) -> list[Run]:
    """Run every input to its end, all in one batch; shorter ones hear digital silence to the longest
    one's end. `colleague` answers requests; without one they go unanswered. `watch`: id of a word whose probability
    as the first one is kept."""
    rows = _Rows(model, tokenizer, inputs, seed)
    rows.watch = watch
    runs = [Run() for _ in inputs]
    decision_ids = [tokenizer.id(d) for d in DECISIONS]
    speak_at, ask_id = DECISIONS.index(SPEAK), tokenizer.id(DELEGATE)
    for turn in range(rows.n_turns):
        hidden = rows.listen(turn)
        p = model.text_logits(hidden)[:, decision_ids].float().softmax(-1)  # [rows, decisions]
        speaks = p.argmax(-1) == speak_at if decide is None else decide(turn, p[:, speak_at])
        for row, run in enumerate(runs):
            run.p_speak.append(float(p[row, speak_at]))
            run.speaks.append(bool(speaks[row]))
            quiet = DECISIONS[0] if decide is not None else DECISIONS[int(p[row].argmax())]
            rows.left[row] = tokenizer.id(quiet) if not speaks[row] else None
        asking = [i for i, left in enumerate(rows.left) if left == ask_id and not speaks[i]]
        if asking:
            for row, request in rows.ask(turn, torch.tensor(asking, device=rows.device), runs):
                rows.answer(row, colleague(row, turn, request) if colleague else [])
        talking = speaks.nonzero(as_tuple=True)[0]
        if len(talking):
            rows.speak(turn, talking, runs, keep_voice)
    return runs
