"""A TurnSet: many episodes lived through, with the model's inside at each turn's decision and what was going on then.

    turns = collect(model, tokenizer, draw(["remind", "interrupt"], 12, seed=0, split="test"))
    train, test = turns.split()                  # by episode, never by turn
    turns.resid[3]                               # [turns, d_model]
    turns.labels["since_asked"]                  # [turns]

Neighbouring turns are nearly the same: with turns of one episode on both sides of a split, a probe that knows nothing
of the question would score.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.progress import track

from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.labels import Labels, label_turns
from tml_lab.interp.names import EMBED, InterpError, full_name
from tml_lab.interp.patching import logit_difference
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import replay

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode


@dataclass(frozen=True, eq=False, repr=False)
class TurnSet:
    """Turns of several recordings, one row each.

    Args:
        model, tokenizer: what ran.
        recordings, families: one for each episode that was collected.
        episode, turn: int64 [turns], index into `recordings` and the turn within.
        embed: float32 [turns, d_model], mean of the embeddings of what a turn heard, saw and read, its clock
            included: what is there before any layer.
        resid: {layer: float32 [turns, d_model]}, the residual stream after a layer where the decision is made.
        logit_difference: float32 [turns], `<speak>` less `<silent>`.
        labels: {name: [turns]}, see `label_turns`.
    """

    model: InteractionModel
    tokenizer: TextTokenizer
    recordings: tuple[Recording, ...]
    families: tuple[str, ...]
    episode: np.ndarray
    turn: np.ndarray
    embed: np.ndarray
    resid: dict[int, np.ndarray]
    logit_difference: np.ndarray
    labels: Labels

    def __len__(self) -> int:
        return len(self.turn)

    def __repr__(self) -> str:
        return f"TurnSet({len(self)} turns of {len(np.unique(self.episode))} episodes, layers {sorted(self.resid)})"

    def label(self, name: str) -> np.ndarray:
        """A label of every turn. Raises InterpError naming the labels there are."""
        if name not in self.labels:
            raise InterpError(f"no label is called {name!r}; there are {', '.join(sorted(self.labels))}.")
        return self.labels[name]

    def at_layer(self, layer: int) -> np.ndarray:
        """`resid[layer]`. Raises InterpError when that layer was not collected."""
        if layer not in self.resid:
            raise InterpError(f"layer {layer} was not collected; there are {', '.join(map(str, sorted(self.resid)))}.")
        return self.resid[layer]

    def with_label(self, name: str, values: np.ndarray) -> TurnSet:
        """The same turns with one more label [turns]. Raises InterpError for another number of values."""
        if len(values) != len(self):
            raise InterpError(f"label {name!r} has {len(values)} values for {len(self)} turns: give one for each.")
        return replace(self, labels={**self.labels, name: np.asarray(values)})

    def of_family(self, *families: str) -> np.ndarray:
        """Which turns lie in an episode of one of these families: bool [turns]."""
        return np.isin(np.array(self.families)[self.episode], families)

    def where(self, mask: np.ndarray) -> TurnSet:
        """The turns for which `mask` (bool [turns]) holds. Raises InterpError when there are none."""
        mask = np.asarray(mask, bool)
        if not mask.any():
            raise InterpError(f"none of the {len(self)} turns fits: draw more episodes, or ask for less.")
        return replace(
            self,
            episode=self.episode[mask],
            turn=self.turn[mask],
            embed=self.embed[mask],
            resid={layer: x[mask] for layer, x in self.resid.items()},
            logit_difference=self.logit_difference[mask],
            labels={name: values[mask] for name, values in self.labels.items()},
        )

    def split(self, share: float = 0.4, seed: int = 0) -> tuple[TurnSet, TurnSet]:
        """Train and test, with `share` of each family's episodes (one at least) in the second.

        Raises InterpError when that leaves either of them empty.
        """
        rng, held = np.random.default_rng(seed), []
        present = np.unique(self.episode)
        for family in sorted(set(self.families)):
            members = [i for i in present if self.families[i] == family]
            n = max(1, round(share * len(members))) if len(members) > 1 else 0
            held += rng.permutation(members)[:n].tolist()
        is_test = np.isin(self.episode, held)
        if is_test.all() or not is_test.any():
            raise InterpError(f"{len(present)} episodes are too few to hold some out: draw two or more of a family.")
        return self.where(~is_test), self.where(is_test)


def live_through(model: InteractionModel, tokenizer: TextTokenizer, episode: Episode, seed: int = 0) -> Recording:
    """A session that hears, sees and reads what the episode holds, and does as it likes."""
    return replay(Recording(episode.inputs(), seed=seed), model, tokenizer)


def collect(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    episodes: Sequence[Episode],
    layers: Collection[int] | None = None,
    recordings: Sequence[Recording] | None = None,
    progress: bool = False,
) -> TurnSet:
    """Live through the episodes and keep the inside at every decision.

    Args:
        layers: whose residual streams to keep; None: all.
        recordings: made of these episodes before; None: a session lives through each of them now.
        progress: show how far it is.

    Raises InterpError without episodes, for a layer there is not, or for recordings that are not one for each.
    """
    if not episodes or (recordings is not None and len(recordings) != len(episodes)):
        have = "no recordings" if recordings is None else f"{len(recordings)} recordings"
        raise InterpError(f"a set needs episodes, one for each recording: got {len(episodes)} and {have}.")
    chosen = sorted(range(model.cfg.n_layers) if layers is None else layers)
    parts: list[tuple[int, Cache, Labels]] = []
    kept: list[Recording] = []
    for i in track(range(len(episodes)), "living through episodes", disable=not progress):
        lived = live_through(model, tokenizer, episodes[i]) if recordings is None else recordings[i]
        names = [EMBED, *(full_name("resid_post", layer) for layer in chosen)]
        cache = run_with_cache(model, tokenizer, lived, names)
        kept.append(lived)
        parts.append((i, _at_decisions(cache, chosen), label_turns(episodes[i], lived)))
    return _join(model, tokenizer, kept, [e.family for e in episodes], chosen, parts)


def _at_decisions(cache: Cache, layers: Sequence[int]) -> Cache:
    """The cache with one row a turn in place of one a position."""
    at = torch.as_tensor(cache.decision_positions, device=cache.logits.device)
    tensors = {full_name("resid_post", layer): cache["resid_post", layer][at].cpu() for layer in layers}
    tensors[EMBED] = _mean_input(cache).cpu()
    return replace(cache, tensors=tensors, logits=cache.logits[at].cpu())


def _mean_input(cache: Cache) -> torch.Tensor:
    """Mean embedding of what each turn heard, saw and read: `[turns, d_model]`."""
    x = cache[EMBED]
    table = cache.tokens
    heard = ~np.isin(table.stream, [3, 4])  # not what the model said itself
    turn = torch.as_tensor(table.turn[heard].astype(np.int64), device=x.device)
    total = x.new_zeros(cache.turns, x.shape[1]).index_add(0, turn, x[torch.as_tensor(heard, device=x.device)])
    return total / torch.bincount(turn, minlength=cache.turns)[:, None]


def _join(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recordings: list[Recording],
    families: list[str],
    layers: Sequence[int],
    parts: list[tuple[int, Cache, Labels]],
) -> TurnSet:
    def rows(name: str) -> np.ndarray:
        return np.concatenate([cache[name].numpy() for _, cache, _ in parts])

    return TurnSet(
        model,
        tokenizer,
        tuple(recordings),
        tuple(families),
        episode=np.concatenate([np.full(cache.turns, i) for i, cache, _ in parts]),
        turn=np.concatenate([np.arange(cache.turns) for _, cache, _ in parts]),
        embed=rows(EMBED),
        resid={layer: rows(full_name("resid_post", layer)) for layer in layers},
        logit_difference=np.concatenate([logit_difference(cache.logits, cache).numpy() for _, cache, _ in parts]),
        labels={name: np.concatenate([labels[name] for _, _, labels in parts]) for name in parts[0][2]},
    )
