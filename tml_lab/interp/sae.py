"""A sparse autoencoder of the residual stream: each position as a sum of a few directions out of many.

    sae = train_sae(train_rows, features=1024, k=16)
    report = judge(sae, pca(train_rows, 16), turns, layer=3)

Top-k (Gao et al. 2024, arXiv 2406.04093): of all features the `k` strongest are kept, decoder rows have length one, and
features that have been silent for long are trained on what the others leave over, so that they come alive.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tml_lab.interp.names import InterpError

DEAD_AFTER = 50  # batches without firing
AUX = 1 / 32  # weight of the silent features' loss
WEIGHTS, CONFIG = "sae.safetensors", "sae.json"


@dataclass(frozen=True)
class SaeConfig:
    """Sizes and origin. `layer` is told for people: the rows are whatever the autoencoder is given."""

    d_model: int
    features: int = 1024
    k: int = 16
    layer: int | None = None


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """`x ~ mean + scale * (encode(x) @ decoder)`.

    Args:
        mean: float32 [d_model]; scale: float32 [], root mean square of what was trained on, about the mean.
        encoder: float32 [d_model, features]; bias: float32 [features]; decoder: float32 [features, d_model], unit rows.
    """

    cfg: SaeConfig
    mean: Tensor
    scale: Tensor
    encoder: Tensor
    bias: Tensor
    decoder: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """`[..., d_model]` -> activations `[..., features]`, at most `k` of them above zero."""
        before = self.before(x)
        top = before.topk(self.cfg.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, top.indices, top.values.relu())

    def before(self, x: Tensor) -> Tensor:
        """`[..., d_model]` -> activations before the choice of the strongest."""
        return (x - self.mean) / self.scale @ self.encoder + self.bias

    def decode(self, activations: Tensor) -> Tensor:
        """`[..., features]` -> `[..., d_model]`."""
        return activations @ self.decoder * self.scale + self.mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """`[..., d_model]` -> the same shape, by way of `k` features."""
        return self.decode(self.encode(x))

    def save(self, folder: str | Path) -> Path:
        """Write `sae.safetensors` (half precision) and `sae.json`; returns the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = ("mean", "scale", "encoder", "bias", "decoder")
        save_file({name: getattr(self, name).half().contiguous() for name in names}, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(asdict(self.cfg), indent=1) + "\n")
        return folder

    @staticmethod
    def load(folder: str | Path) -> SparseAutoencoder:
        """Read `save`'s folder. Raises InterpError, in one sentence, when it is missing or damaged."""
        folder = Path(folder)
        try:
            cfg = SaeConfig(**json.loads((folder / CONFIG).read_text()))
            tensors = {name: x.float() for name, x in load_file(folder / WEIGHTS).items()}
            return SparseAutoencoder(cfg, **tensors)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise InterpError(f"there is no whole autoencoder in {folder} ({error}): train it again.") from error


@dataclass(frozen=True, eq=False)
class Pca:
    """The rival with the same number of numbers a row: the `k` directions of largest variance."""

    mean: Tensor
    basis: Tensor

    def reconstruct(self, x: Tensor) -> Tensor:
        """`[..., d_model]` -> the same shape, by way of `k` numbers."""
        return (x - self.mean) @ self.basis @ self.basis.T + self.mean


def pca(rows: Tensor, k: int) -> Pca:
    """Fit to `rows [n, d_model]`."""
    mean = rows.mean(0)
    _, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean))
    return Pca(mean, vectors[:, -k:])  # eigenvalues ascend


def train_sae(
    rows: Tensor,
    features: int = 1024,
    k: int = 16,
    steps: int = 1500,
    batch: int = 512,
    rate: float = 1e-3,
    layer: int | None = None,
    seed: int = 0,
) -> SparseAutoencoder:
    """Train on `rows [n, d_model]` with Adam, the rate falling to zero over the last third.

    Raises InterpError when there are fewer rows than a batch, or `k` is not below `features`.
    """
    if len(rows) < batch or not 0 < k < features:
        given = f"{len(rows)} rows, {features} features, k={k}"
        raise InterpError(f"{given}: give at least {batch} rows, and k between 1 and the features.")
    draw = torch.Generator().manual_seed(seed)
    mean = rows.mean(0)
    scale = (rows - mean).square().mean().sqrt() + 1e-6
    x = (rows - mean) / scale
    decoder = F.normalize(torch.randn(features, x.shape[1], generator=draw), dim=-1).requires_grad_(True)
    encoder, bias = decoder.detach().T.clone().requires_grad_(True), torch.zeros(features, requires_grad=True)
    search = torch.optim.Adam([encoder, bias, decoder], rate, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LambdaLR(search, lambda step: min(1.0, 3 * (1 - step / steps)))
    silent = torch.zeros(features, dtype=torch.long)  # batches since a feature fired last
    for _ in range(steps):
        chosen = x[torch.randint(len(x), (batch,), generator=draw)]
        loss, fired = _loss(chosen, encoder, bias, decoder, k, silent)
        search.zero_grad()
        loss.backward()
        search.step()
        falling.step()
        silent = torch.where(fired, 0, silent + 1)
        with torch.no_grad():
            decoder.copy_(F.normalize(decoder, dim=-1))
    cfg = SaeConfig(x.shape[1], features, k, layer)
    return SparseAutoencoder(cfg, mean, scale, encoder.detach(), bias.detach(), decoder.detach())


def _loss(
    x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, k: int, silent: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared error plus the silent features' share; and which features fired: bool [features]."""
    before = x @ encoder + bias  # [batch, features]
    top = before.topk(k, dim=-1)
    kept = torch.zeros_like(before).scatter(-1, top.indices, top.values.relu())
    error = x - kept @ decoder  # [batch, d_model]
    loss = error.square().mean()
    dead = silent > DEAD_AFTER
    if (n := min(2 * k, int(dead.sum()))) > 0:
        again = before.masked_fill(~dead, -torch.inf).topk(n, dim=-1)
        aux = torch.zeros_like(before).scatter(-1, again.indices, again.values.relu())
        loss = loss + AUX * (error.detach() - aux @ decoder).square().mean()
    return loss, (kept > 0).any(0)
