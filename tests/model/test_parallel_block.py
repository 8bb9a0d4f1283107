"""A block over one, two and four processes: the same bits, and the block's own values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tml_lab.config import ModelConfig, preset
from tml_lab.model.backbone import Backbone
from tml_lab.model.parallel_block import Group, in_order, parallel_block
from tml_lab.train.parallel import launch

pytest.importorskip("numba", reason="Numba does not run here")
SCRIPT = """
import sys
from pathlib import Path
import torch
from tml_lab.model.parallel_block import Group, parallel_block
from tml_lab.train.parallel import join

rank, world = join()
torch.set_num_threads(1)
saved = torch.load(Path(sys.argv[1]) / "block.pt", weights_only=False)
out = [parallel_block(block, saved["x"], Group()) for block in saved["blocks"]]
assert Group().world == world
torch.save(out, Path(sys.argv[1]) / f"{world}-{rank}.pt")
"""


def shape(**changes: int) -> ModelConfig:
    small = preset("pico").with_(d_model=48, n_heads=4, n_kv_heads=2, d_head=12, window=24, rel_extent=40, n_layers=3)
    return small.with_(global_budget=60, n_sinks=4, n_experts=5, n_shared_experts=2, d_expert=32, **changes)


def backbone(cfg: ModelConfig) -> Backbone:
    torch.manual_seed(0)
    model = Backbone(cfg).eval().requires_grad_(False)
    for p in model.parameters():
        p.add_(torch.randn_like(p) * 0.2)
    return model


def test_two_and_four_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    model = backbone(shape())
    x = torch.randn(90, 48)
    pos = torch.arange(90)[None]
    alone = [parallel_block(block, x, Group()) for block in model.blocks]
    for block, ours in zip(model.blocks, alone, strict=True):
        torch.testing.assert_close(ours[None], block(x[None], None, pos), atol=2e-5, rtol=1e-5)
    torch.save({"blocks": list(model.blocks), "x": x}, tmp_path / "block.pt")
    (tmp_path / "part.py").write_text(SCRIPT)
    for world in (2, 4):
        assert launch(world, [str(tmp_path / "part.py"), str(tmp_path)]) == 0
        for rank in range(world):
            theirs = torch.load(tmp_path / f"{world}-{rank}.pt", weights_only=True)
            assert all(torch.equal(a, b) for a, b in zip(alone, theirs, strict=True)), f"{rank} of {world}"


def test_every_part_has_one_owner_and_sums_have_one_order() -> None:
    group = Group()
    assert (group.rank, group.world) == (0, 1)
    for world in (1, 2, 3, 4, 7):
        owned = []
        for rank in range(world):
            group.rank, group.world = rank, world
            owned += list(group.mine(10))
        assert owned == list(range(10))
    big, one = torch.tensor([2.0**24]), torch.tensor([1.0])
    assert in_order([big, one, -big]) == 0.0 and in_order([big, -big, one]) == 1.0


def test_what_it_does_not_do_is_said() -> None:
    x = torch.randn(4, 48)
    with pytest.raises(ValueError, match="no log scaling"):
        parallel_block(backbone(shape(log_scaling_n_floor=8, global_every=1)).blocks[0], x, Group())
    with pytest.raises(ValueError, match="dense MLP"):
        parallel_block(backbone(shape(n_dense_layers=1)).blocks[0], x, Group())
