"""A session: one conversation, advanced one turn of 0.2 s at a time.

    one forward over  [left over from the last turn] [typed] [seen x P] [heard x 4]
    decision          argmax over the decision tokens at the last heard frame
    if <speak>        feed it; a word or <audio> (never fed: no more words), two words at most;
                      then 4 x (flow head -> own voice, quantised and fed back); vocoder -> 3200 samples
    if <delegate>     feed it; the words of a request to the background model, silently; <audio> ends them

The last token of a turn (the decision when silent, the fourth own-voice token when speaking) is fed at the
head of the next turn's forward, so that a silent turn costs one forward and no more.

All that changes from turn to turn lies in `Session.state`, a plain dict of tensors. A turn is written once, as a
generator of what it asks of the model (`turn_steps`): `Session.step` runs one, `step_together` those of many sessions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tml_lab.config import OUT_DIM, OUT_TOKENS_PER_TURN
from tml_lab.model.decode import compile_kernels, one_turn
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.state import MAX_CHUNK, State, clone_state, new_state
from tml_lab.model.tap import Tap
from tml_lab.model.text import AUDIO, DECISIONS, DELEGATE, SILENT, SPEAK, SPECIALS, TextTokenizer
from tml_lab.signal.dmel import DMelStream
from tml_lab.signal.out_mel import quantize_voice
from tml_lab.stream.checkpoint_hash import weights_hash
from tml_lab.stream.clock import turn_hearing
from tml_lab.stream.graphed import Graphed
from tml_lab.stream.layout import MAX_REQUEST, MAX_WORDS, Stream
from tml_lab.stream.observer import Observer
from tml_lab.stream.policy import Keeper, Policy, SinksAndWindow, policy_of, with_reach
from tml_lab.stream.pooled import Pooled
from tml_lab.stream.recording import SKIPPED, Recording, RecordingError, Skipped, Sound
from tml_lab.stream.tape import Reel, Tape, Turn
from tml_lab.stream.turn_input import Heard, SessionError, hear
from tml_lab.stream.turn_result import TurnResult, pool_attention, pool_patches
from tml_lab.stream.turn_steps import Append, Draw, Steps, run_alone
from tml_lab.stream.voice import VoiceOut, turn_noise

STATE = "state.safetensors"
BROKEN = "the last turn was interrupted half-way: go on with session.fork(at=session.turn)."


class Session:
    """One conversation with a model.

    Args:
        model: in eval mode, on the device where the session shall run.
        tokenizer: the one the model was trained with.
        seed: of the session's own noise (the flow head's); turn n's noise depends on (seed, n) alone.
        attention: `(layer, head)` to watch; can be changed between turns.
        reel: where the recording's sound and pictures go; None: see `MemoryReel`.
        policy: what it remembers in the long run (`tml_lab.stream.policy`); None: as the model was trained.
    """

    def __init__(
        self,
        model: InteractionModel,
        tokenizer: TextTokenizer,
        seed: int = 0,
        attention: tuple[int, int] | None = None,
        reel: Reel | None = None,
        policy: Policy | None = None,
    ) -> None:
        if tokenizer.size != model.cfg.vocab_size:
            raise SessionError(
                f"the tokenizer has {tokenizer.size} tokens and the model {model.cfg.vocab_size}: "
                "load both from one checkpoint."
            )
        self.policy = SinksAndWindow() if policy is None else policy
        model = with_reach(model, self.policy.config(model.cfg))
        self.model, self.tokenizer, self.seed = model.eval(), tokenizer, int(seed)
        self._keeper = Keeper(self.policy, model, tokenizer)
        self.device = next(model.parameters()).device
        self.attention = attention
        self.observer: Observer | None = None  # sees, and may change, what is computed inside
        self.tape = Tape(reel)
        self._rows: list[tuple[int, int]] = []  # (stream, token id or -1) of this turn's positions so far
        self.voice = VoiceOut(model)
        self._decisions = [tokenizer.id(name) for name in DECISIONS]
        self._audio_id = tokenizer.id(AUDIO)
        never_words = [tokenizer.id(name) for name in SPECIALS if name != AUDIO]
        self._not_a_word = torch.zeros(tokenizer.size, dtype=torch.bool, device=self.device)
        self._not_a_word[never_words] = True
        self._broken = False
        # `Graphed(model)` here runs a GPU's turns by CUDA graphs, unless somebody looks inside
        self.graphed: Graphed | None = None
        self._graphs: Graphed | None = None  # this turn's
        compile_kernels(model)
        self.state: State = {
            "turn": torch.zeros((), dtype=torch.long),
            "pending.token": torch.full((), -1, dtype=torch.long),
            "pending.voice": torch.zeros(0, OUT_DIM, dtype=torch.uint8),
            "dmel.tail": DMelStream().state_dict()["tail"],
            **self.voice.new_state(),
            **self._keeper.new_state(),
            **new_state(model.cfg, device=self.device, dtype=next(model.parameters()).dtype),
        }

    @property
    def turn(self) -> int:
        """The turn that the next `step` computes."""
        return int(self.state["turn"])

    @property
    def attention(self) -> tuple[int, int] | None:
        """The watched `(layer, head)`, or None."""
        return self._watched

    @attention.setter
    def attention(self, watched: tuple[int, int] | None) -> None:
        if watched is not None:
            layer, head = watched
            if not 0 <= layer < self.model.cfg.n_layers:
                raise SessionError(
                    f"there is no layer {layer}: the model has layers 0..{self.model.cfg.n_layers - 1}."
                )
            heads = self.model.cfg.heads(layer)[0]
            if not 0 <= head < heads:
                raise SessionError(f"there is no head {head} in layer {layer}: it has heads 0..{heads - 1}.")
            watched = (int(layer), int(head))
        self._watched = watched

    @torch.no_grad()
    def step(
        self, audio: Sound | Tensor = None, frames: np.ndarray | None = None, text: str | None = None
    ) -> TurnResult:
        """Hear one turn and answer it.

        Args:
            audio: float32 [3200], mono at 16 kHz, finite. None: a gap. Nothing was heard in this turn (a chunk was
                lost, the lid was closed), and yet it took its 0.2 s: it is a turn like any other, whose sound is
                silence, so that the model's time goes on with the world's. `Recording.gaps` marks it. `SKIPPED`: the
                turn passes without the model, which then only sees from the clock that it was there (see `skip`).
            frames: uint8 [2, H, W, 3], RGB, when a camera runs.
            text: words typed during this turn.

        Raises SessionError or SignalError, in one sentence, for input it cannot take; the state is then as
        it was.
        """
        with one_turn(self.model.backbone, self.model.flow):
            return run_alone(self.steps(audio, frames, text))

    def skip(self, turns: int) -> None:
        """Let time pass without the model: a lid was closed for 20 minutes, which are 6,000 turns.

        The clock is on by `turns`, and the recording as long as they were; the sequence has no positions of them. The
        first turn after them carries a later turn number, and what it hears joins on to what was heard before. What was
        just being said breaks off.
        """
        for _ in range(turns):
            self.step(SKIPPED)

    def not_played(self, turn: int) -> None:
        """Whoever plays the sound says that a turn's came too late and was left out; the recording tells."""
        self.tape.unplayed.append(int(turn))

    def _skip(self, frames: np.ndarray | None, text: str | None) -> TurnResult:
        if self._broken:
            raise SessionError(BROKEN)
        if frames is not None or text:
            raise SessionError("a turn that is skipped brings no pictures and no words: give them to the next turn.")
        sound = self.voice.step(None, self.state)  # float32 [3200]: the last word rings out
        result = TurnResult(self.turn, SILENT, 0.0, "", (), sound, {})
        self.tape.skip(sound)
        self.state["turn"] = self.state["turn"] + 1
        return result

    def steps(
        self, audio: Sound | Tensor = None, frames: np.ndarray | None = None, text: str | None = None
    ) -> Steps[TurnResult]:
        """The turn that `step` runs, as it is asked for piece by piece; to be run without gradient, to its end."""
        if isinstance(audio, Skipped):
            return self._skip(frames, text)
        began = time.perf_counter()
        if self._broken:
            raise SessionError(BROKEN)
        read = self._keeper.before(self.state, text)
        heard = hear(audio, frames, read, self.tokenizer, self.state["dmel.tail"])
        # Up to here nothing was touched: bad input leaves the session as it was.
        self._broken = True  # until the turn is whole: Ctrl-C in between leaves half a turn behind
        timings = {"signal": time.perf_counter() - began}
        self.state["dmel.tail"] = heard.dmel_tail
        rows = self._rows = heard.rows()
        taps = self._keeper.taps(None if self._watched is None else {self._watched[0]: Tap(wants={"pattern"})})
        unseen = taps is None and self.observer is None
        self._graphs = self.graphed if self.graphed and unseen and self.graphed.ready() else None
        device = torch.device("cpu") if self._graphs else self.device
        tokens = heard.tokens(self.turn, self.state["pending.token"], self.state["pending.voice"], device)
        hidden = yield from self._forward(tokens, taps)
        logits = self.model.text_logits(hidden).cpu()[self._decisions].float()  # [n decisions]
        best = int(logits.argmax())
        p_speak = float(logits.softmax(-1)[DECISIONS.index(SPEAK)])
        seen = patches = None
        if taps is not None and self._watched is not None:
            layer, head = self._watched
            seen = pool_attention(taps[layer], head, self.tape, rows)
            patches = pool_patches(taps[layer], head, self.tape, rows, frames)
        rows.append((Stream.TEXT_OUT, self._decisions[best]))
        self._leave(token=self._decisions[best])
        timings["decide"] = time.perf_counter() - began - timings["signal"]

        words: list[int] = []
        mel = bins = None
        if DECISIONS[best] == SPEAK:
            words, hidden = yield from self._say_words(rows, timings, MAX_WORDS)
            mel, bins = yield from self._say_sound(hidden, rows, timings)
        elif DECISIONS[best] == DELEGATE:
            words, _ = yield from self._say_words(rows, timings, MAX_REQUEST)
            self._leave()  # all of it is fed
        mark = time.perf_counter()
        sound = self.voice.step(mel, self.state, self._graphs)  # float32 [3200]
        timings["vocoder"] = time.perf_counter() - mark
        timings["total"] = time.perf_counter() - began
        return self._finish(heard, frames, text, best, p_speak, words, sound, rows, bins, timings, seen, patches)

    def _forward(self, tokens: Tokens, taps: dict[int, Tap] | None = None) -> Steps[Tensor]:
        """Append the tokens to the state; the hidden state `[d_model]` at the last of them."""
        if self._graphs is not None:
            hidden = self._graphs.turn(tokens, self.state)
            if hidden is not None:
                return hidden
            tokens = tokens.to(self.device)
        x = self.model.embed(tokens)[None]  # [1, n, d_model]
        hidden = x
        for start in range(0, x.shape[1], MAX_CHUNK):  # long typed text: more than one forward
            hidden = yield from self._append(x[:, start : start + MAX_CHUNK], taps)  # [1, <= MAX_CHUNK, d_model]
        return hidden[0, -1]

    def _append(self, x: Tensor, taps: dict[int, Tap] | None = None) -> Steps[Tensor]:
        """Embeddings `[1, n, d_model]` appended to the state -> hidden states; the observer sees all of it."""
        if self.observer is None:
            return (yield Append(self.model, self.state, x, taps))
        piece = self.tape.piece(self.tokenizer.names, int(self.state["pos"]), x.shape[1], self._rows)
        x = self.observer.embedded(x[0], piece)[None]
        mine, seen = taps or {}, dict(self.observer.taps(piece))
        for layer, tap in mine.items():  # one tap of a layer serves both
            seen[layer] = seen[layer].also(*(tap.wants or ())) if layer in seen else tap
        hidden = yield Append(self.model, self.state, x, seen)
        for layer, tap in mine.items():
            tap.update(seen[layer])
        return self.observer.finished(hidden[0], piece)[None]

    def _feed(self, stream: Stream, token: int = 0, voice: Tensor | None = None) -> Steps[Tensor]:
        """Append one output token of this turn; the hidden state `[d_model]`."""
        if self._graphs is not None and voice is None:
            hidden = self._graphs.word(int(stream), token, self.state)
            if hidden is not None:
                return hidden
        x = self.model.embed_output(int(stream), token, voice)[None]  # [1, 1, d_model]
        return (yield from self._append(x))[0, -1]

    def _leave(self, token: int = -1, voice: Tensor | None = None) -> None:
        """Keep the turn's last token for the next turn's forward."""
        self.state["pending.token"] = torch.tensor(token)
        self.state["pending.voice"] = (
            torch.zeros(0, OUT_DIM, dtype=torch.uint8) if voice is None else voice.cpu()
        )

    def _say_words(
        self, rows: list[tuple[int, int]], timings: dict[str, float], most: int
    ) -> Steps[tuple[list[int], Tensor]]:
        """Feed the decision and up to `most` words; the words, and the hidden state that conditions the sound."""
        mark = time.perf_counter()
        hidden = yield from self._feed(Stream.TEXT_OUT, int(self.state["pending.token"]))
        words: list[int] = []
        while len(words) < most:
            logits = self.model.text_logits(hidden).masked_fill(self._not_a_word, -torch.inf)  # [vocab]
            word = int(logits.argmax())
            if word == self._audio_id:
                break
            words.append(word)
            rows.append((Stream.TEXT_OUT, word))
            hidden = yield from self._feed(Stream.TEXT_OUT, word)
        timings["words"] = time.perf_counter() - mark
        return words, hidden

    def _say_sound(
        self, hidden: Tensor, rows: list[tuple[int, int]], timings: dict[str, float]
    ) -> Steps[tuple[Tensor, np.ndarray]]:
        """Four own-voice tokens, each fed back (the last one with the next turn).

        Returns normalised mel float32 [4, 320] and its bins uint8 [4, 320].
        """
        mark = time.perf_counter()
        noise = turn_noise(self.seed, self.turn).to(self.device)  # [4, 320]
        said = self._graphs.sound(hidden, noise, self.state) if self._graphs else None
        if said is not None:
            rows += [(Stream.AUDIO_OUT, -1)] * OUT_TOKENS_PER_TURN
            self._leave(voice=said[1][-1:])
            timings["voice"] = time.perf_counter() - mark
            return said[0], said[1].cpu().numpy()
        out: list[Tensor] = []
        heard: list[Tensor] = []
        for k in range(OUT_TOKENS_PER_TURN):
            mel = yield Draw(self.model, hidden[None], noise[k : k + 1])  # [1, 320]
            out.append(mel)
            heard.append(bins := quantize_voice(mel))  # uint8 [1, 320]
            rows.append((Stream.AUDIO_OUT, -1))
            if k < OUT_TOKENS_PER_TURN - 1:
                hidden = yield from self._feed(Stream.AUDIO_OUT, voice=bins)
            else:
                self._leave(voice=bins)
        timings["voice"] = time.perf_counter() - mark
        return torch.cat(out), torch.cat(heard).cpu().numpy()

    def _finish(
        self, heard: Heard, frames: np.ndarray | None, text: str | None, best: int, p_speak: float,
        words: list[int], sound: np.ndarray, rows: list[tuple[int, int]], bins: np.ndarray | None,
        timings: dict[str, float], seen: Pooled | None, patches: np.ndarray | None,
    ) -> TurnResult:  # fmt: skip
        """Write the turn to the tape and move the clock on."""
        text_out = self.tokenizer.decode(words)
        request = text_out if DECISIONS[best] == DELEGATE else ""
        said = () if request else tuple(text_out.split())
        note = self._keeper.note
        result = TurnResult(
            self.turn, DECISIONS[best], p_speak, " ".join(said), said, sound, timings, seen, request, patches,
            note or "",
        )  # fmt: skip
        self.tape.head = self._watched or self.tape.head
        self.tape.append(
            Turn(
                heard.audio, frames, text, result.decision, p_speak, said, sound, rows, bins, timings, seen, note,
                heard.gap,
            )
        )
        self._keeper.after(self.state, text, result.decision, said)
        self.state["turn"] = self.state["turn"] + 1
        self._broken = False
        return result

    def fork(self, at: int | float | None = None, state: State | None = None) -> Session:
        """An independent session with the same past.

        Args:
            at: None: now. A whole number: before that turn; a float: before the turn that hears that second.
                The past is recomputed from the recording, because the rings have overwritten it.
            state: of this session, kept at or before that turn (`clone_state`): only what came after is recomputed.

        Raises SessionError for a turn that was not, or a state that is later than it.
        """
        if at is None:
            if self._broken:
                raise SessionError(BROKEN)
            twin = self._twin()
            twin.state, twin.tape = clone_state(self.state), self.tape.copy()
            return twin
        turn = int(at) if isinstance(at, int | np.integer) else turn_hearing(at)
        if not 0 <= turn <= self.tape.turns:
            raise SessionError(
                f"cannot fork at turn {turn}: the session has had turns 0..{self.tape.turns - 1}."
            )
        first = 0 if state is None else int(state["turn"])
        if first > turn:
            raise SessionError(f"cannot fork at turn {turn} from a state of turn {first}: give an earlier one.")
        twin, recording = self._twin(), self.recording()
        if state is not None:
            twin.state, twin.tape = clone_state(state), Tape.of(recording.until(first))
        for n in range(first, turn):
            twin.step(*recording.inputs.turn(n))
        return twin

    def _twin(self) -> Session:
        """A fresh session like this one, under the same observer."""
        twin = Session(self.model, self.tokenizer, self.seed, self._watched, policy=self.policy)
        twin.observer = self.observer
        return twin

    def recording(self, about: Mapping[str, object] | None = None) -> Recording:
        """Everything so far. Sound and pictures that went to a `FolderReel` are read back from there."""
        return self.tape.recording(
            self.tokenizer.names,
            seed=self.seed,
            checkpoint={"name": self.model.cfg.name, "sha256": weights_hash(self.model)},
            config=self.model.cfg.to_dict(),
            policy=self.policy.to_dict(),
            about={"device": self.device.type, "torch": torch.__version__, **(about or {})},
        )

    def save(self, folder: str | Path) -> Path:
        """Write recording and state into a folder, so that `Session.load` goes on where this one stands."""
        folder = self.recording().save(folder)
        save_file({name: tensor.cpu().contiguous() for name, tensor in self.state.items()}, folder / STATE)
        return folder

    @staticmethod
    def load(folder: str | Path, model: InteractionModel, tokenizer: TextTokenizer) -> Session:
        """Read `save`'s folder. Raises RecordingError when it is not whole, SessionError for another model."""
        recording = Recording.load(folder)
        if recording.checkpoint["sha256"] != weights_hash(model):
            raise SessionError(f"the session in {folder} ran on other weights: load its own checkpoint.")
        watched = (recording.attention.layer, recording.attention.head) if recording.attention else None
        session = Session(model, tokenizer, recording.seed, watched, policy=policy_of(recording.policy))
        try:
            state = load_file(Path(folder) / STATE)
        except (OSError, SafetensorError) as error:
            raise RecordingError(f"the state in {folder} is damaged or missing ({error}).") from error
        # Counters, the dMel tail and what is left over stay on the CPU, where the session reads them.
        session.state = {name: tensor.to(session.state[name].device) for name, tensor in state.items()}
        session.tape = Tape.of(recording)
        return session
