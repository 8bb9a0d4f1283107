"""Chapter 05 with every exercise solved, on the shipped nano; and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "05_mixture_of_experts.ipynb"
SOLVED = {
    "route_reference": """
def route_reference(x, weight, bias, top_k, scale):
    score = (x @ weight.T).sigmoid()
    chosen = (score[:, : len(bias)] + bias).topk(top_k, dim=-1).indices.sort(-1).values
    kept = torch.cat([score.gather(1, chosen), score[:, len(bias) :]], 1)
    weights = scale * kept / kept.sum(1, keepdim=True)
    return weights[:, :top_k], chosen, weights[:, top_k:]
""",
    "experts_gathered": """
def experts_gathered(x, weight, chosen, gate_up, down):
    both = (gate_up[chosen] @ x[:, None, :, None])[..., 0]  # [n, top_k, 2 * inner]
    inner = both.shape[-1] // 2
    hidden = torch.nn.functional.silu(both[..., :inner]) * both[..., inner:]
    return ((down[chosen] @ hidden[..., None])[..., 0] * weight[..., None]).sum(1)
""",
    "experts_grouped": """
def experts_grouped(x, weight, chosen, gate_up, down):
    out = torch.zeros_like(x)
    for e in range(len(down)):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        out[token] += swiglu(x[token], gate_up[e], down[e]) * weight[token, slot, None]
    return out
""",
    "nudged": """
def nudged(bias, load, rate=1e-3):
    return bias - rate * torch.sign(load - load.mean())
""",
}


@pytest.mark.slow
def test_chapter_05_solved(run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, SOLVED)
    assert out.count("yours now runs inside") == 4 and "not started" not in out


def test_chapter_05_on_a_small_model(small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK)
    assert out.count("not started") == 4
