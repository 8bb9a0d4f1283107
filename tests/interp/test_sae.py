"""The sparse autoencoder on planted features; its report and what fires before speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.interp.sets_by_hand import noise_episode
from tml_lab.interp.names import InterpError
from tml_lab.interp.sae import SaeConfig, SparseAutoencoder, pca, train_sae
from tml_lab.interp.sae_report import fires_before, judge, residual_rows, timelines
from tml_lab.interp.sets import collect
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session

PLANTED, WIDTH, ACTIVE = 24, 16, 2


@pytest.fixture(scope="module")
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that are sums of two of 24 directions in 16 dimensions, and the directions."""
    draw = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(PLANTED, WIDTH, generator=draw), dim=-1)
    which = torch.rand(6000, PLANTED, generator=draw).topk(ACTIVE, dim=-1).indices
    amounts = torch.zeros(6000, PLANTED).scatter(-1, which, 1 + torch.rand(6000, ACTIVE, generator=draw))
    return amounts @ directions, directions


@pytest.fixture(scope="module")
def sae(world: tuple[torch.Tensor, torch.Tensor]) -> SparseAutoencoder:
    return train_sae(world[0], features=32, k=3, steps=1200, batch=256, rate=3e-3, layer=1)


def test_planted_features_are_recovered(world: tuple[torch.Tensor, torch.Tensor], sae: SparseAutoencoder) -> None:
    rows, directions = world
    alike = (directions @ sae.decoder.T).amax(-1)  # [planted], each one's nearest feature
    assert (alike > 0.9).float().mean() > 0.75
    left = (sae.reconstruct(rows) - rows).square().sum() / (rows - rows.mean(0)).square().sum()
    rival = pca(rows, 3)
    worse = (rival.reconstruct(rows) - rows).square().sum() / (rows - rows.mean(0)).square().sum()
    assert left < 0.2 < 0.5 < worse


def test_few_features_fire_and_decoder_rows_have_length_one(
    world: tuple[torch.Tensor, torch.Tensor], sae: SparseAutoencoder
) -> None:
    acts = sae.encode(world[0][:50])
    assert acts.shape == (50, 32) and (acts >= 0).all() and (acts > 0).sum(-1).max() <= 3
    torch.testing.assert_close(sae.decoder.norm(dim=-1), torch.ones(32), atol=1e-5, rtol=0)


def test_silent_features_come_alive() -> None:
    """Without the silent features' loss few of many features ever fire on data of few kinds."""
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(2000, 8, generator=draw)
    fires = (train_sae(rows, features=128, k=2, steps=400, batch=128, rate=3e-3).encode(rows) > 0).any(0)
    assert fires.float().mean() > 0.8


def test_saved_and_loaded_it_is_the_same(sae: SparseAutoencoder, tmp_path: Path) -> None:
    again = SparseAutoencoder.load(sae.save(tmp_path / "sae"))
    assert again.cfg == SaeConfig(WIDTH, 32, 3, 1)
    torch.testing.assert_close(again.decoder, sae.decoder, atol=1e-3, rtol=0)
    (tmp_path / "sae" / "sae.json").write_text("{")
    with pytest.raises(InterpError, match="train it again"):
        SparseAutoencoder.load(tmp_path / "sae")
    with pytest.raises(InterpError, match="no whole autoencoder"):
        SparseAutoencoder.load(tmp_path)
    (sae.save(tmp_path / "sae") / "sae.safetensors").write_bytes(b"cut")
    with pytest.raises(InterpError, match="no whole autoencoder"):
        SparseAutoencoder.load(tmp_path / "sae")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InterpError, match="10 rows"):
        train_sae(torch.randn(10, 4))


def test_a_perfect_reconstruction_loses_nothing(model: InteractionModel, session: Session) -> None:
    turns = collect(model, session.tokenizer, [noise_episode(seed) for seed in range(2)], layers=[0])
    rows, d = residual_rows(turns, 0), model.cfg.d_model
    eye = torch.eye(d)
    whole = SparseAutoencoder(
        SaeConfig(d, 2 * d, 2 * d), rows.mean(0), torch.tensor(1.0), torch.cat([eye, -eye], 1), torch.zeros(2 * d),
        torch.cat([eye, -eye]),
    )  # fmt: skip
    report = judge(whole, pca(rows, 1), turns, 0)
    assert report.explained > 0.9999 and report.recovered > 0.999 and report.dead < 0.01
    assert report.l0 == pytest.approx(d, rel=0.02)  # each number is positive or negative
    assert report.pca_explained < 0.9
    assert timelines(whole, turns, 0).shape == (len(turns), 2 * d)


def test_what_fires_before_speech_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(10), 40)
    onset, speaking = np.zeros(400, bool), np.zeros(400, bool)
    for e in range(10):
        at = 40 * e + rng.integers(5, 30)
        onset[at], speaking[at + 1 : at + 5] = True, True
    activations = (rng.random((400, 30)) < 0.2).astype(np.float32)
    before = onset | np.roll(onset, -1)
    activations[:, 7] = before | (rng.random(400) < 0.05)
    found = fires_before(activations, onset, speaking, episode, shuffles=100)
    assert found[0].feature == 7 and found[0].p < 0.05 and found[0].before == 1 and found[0].otherwise < 0.15
    assert all(firing.p > 0.05 for firing in found[1:])
    silent = fires_before(activations, np.zeros(400, bool), speaking, episode, shuffles=5)
    assert all(firing.p == 1 for firing in silent)
