"""A turn in operators of fixed shapes: the same session as the ordinary way; with CUDA, by captured graphs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
import torch
from torch import Tensor

from tml_lab.bench.runner import SteeredModel
from tml_lab.model.fixed_step import backbone_step, fill_gaps
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import new_state
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.stream.graphed import Graphed
from tml_lab.stream.session import Session

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@torch.no_grad()
def test_a_step_of_fixed_shapes_is_the_backbones_past_the_rings_end(model: InteractionModel, device: str) -> None:
    torch.manual_seed(1)
    backbone = model.to(device).backbone
    plain, fixed = (new_state(model.cfg, device=device) for _ in range(2))
    fill_gaps(fixed)
    longest = fixed[f"{next(i for i, t in enumerate(model.cfg.layer_types) if t == 'global')}.k"].shape[2]
    done, sizes = 0, cycle((17, 1, 5, 1, 33, 1, 1))
    while done < longest + 200:
        n = next(sizes)
        x = torch.randn(n, model.cfg.d_model, device=device)
        want, done = backbone.norm(backbone._torch(x[None], plain, None))[0], done + n
        near = 1e-5 if device == "cpu" else 1e-4  # a GPU's exponentials are coarser
        torch.testing.assert_close(backbone_step(backbone, x, fixed), want, atol=near, rtol=1e-4)
    assert int(fixed["pos"]) == int(plain["pos"]) == done
    model.cpu()


def speak_now_and_then(
    session: Session, model: SteeredModel, sound: np.ndarray, otherwise: str | None
) -> list[tuple[float, str, Tensor]]:
    """Turns with and without camera, typed words and speech -> `(p_speak, text, sound [3200])` of each.

    It speaks in two turns of five; in the others it decides as `otherwise` says, None: for itself.
    """
    heard, rng = [], np.random.default_rng(0)
    for turn, samples in enumerate(sound.reshape(-1, 3200)):
        model.imposed = SPEAK if turn % 5 in (2, 3) else otherwise
        frames = None if turn % 7 == 6 else rng.integers(0, 256, (2, 80, 120, 3), dtype=np.uint8)
        result = session.step(samples, frames, "seven" if turn % 11 == 10 else None)
        heard.append((result.p_speak, result.text, torch.from_numpy(result.audio)))
    return heard


@pytest.mark.parametrize("device", DEVICES)
def test_a_session_by_graphs_is_the_session(
    model: InteractionModel, tokenizer: TextTokenizer, sound: Callable[..., np.ndarray], device: str
) -> None:
    steered = SteeredModel(model.to(device), tokenizer)
    heard = sound(24)  # later, a number of the own voice lies within 1e-5 of a bin's edge
    sessions = [Session(steered, tokenizer) for _ in range(2)]  # pyright: ignore[reportArgumentType]
    graphs = sessions[1].graphed = Graphed(model, capture=device == "cuda")
    # on a GPU a bin of the own voice may tip over, and then a decision that hangs in the balance
    otherwise, apart, loud = (None, 1e-4, 1e-3) if device == "cpu" else (SILENT, 1e-2, 5e-2)
    plain, ours = (speak_now_and_then(s, steered, heard, otherwise) for s in sessions)
    assert not graphs.failed, next(iter(graphs.failed.values()))
    assert {"pos", "vocoder.embed"} <= set(graphs.memory) and max(graphs.seen.values()) > 2, "they were never used"
    for (p, text, a), (q, same, b) in zip(plain, ours, strict=True):
        assert p == pytest.approx(q, abs=apart) and text == same
        torch.testing.assert_close(a, b, atol=loud, rtol=0)
    assert device == "cuda" or len({round(p, 3) for p, _, _ in plain}) > 4, "nothing was compared"
    model.cpu()
