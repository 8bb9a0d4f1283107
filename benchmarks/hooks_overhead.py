"""What hooks cost, off and on, beside nnsight on our own model and TransformerLens on a dense twin.

    pip install -e ".[rivals]"
    OMP_NUM_THREADS=1 python benchmarks/hooks_overhead.py --threads 1 --json FILE

Off: the pass as it is, beside a copy of the model with every line about taps taken out of the source, and beside a copy
as it is (what a difference of nothing looks like; some of it is where weights lie in memory); of a whole recording, and
of 8 positions, where a line counts for more. On: all names kept, one name a layer, one head ablated.
Ours and nnsight's rows do the whole work from a recording to logits; TransformerLens' from words to logits, and are
compared with the bare Hugging Face model. In each round all rows run once, in an order drawn anew; a ratio is of a row
and its plain pass in the same round, and the median of the ratios is reported. Times are of the processor, so that on
one thread a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import json
import os
import random
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deterministic import medians
from nnsight_trace import see, without_head, wrap
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformer_lens_twin import bridge, dense_model, hugging_face_twin
from turn_latency import load

from tml_lab.bench.machine import machine, now
from tml_lab.config import TURN_SAMPLES, VIDEO_SIZE
from tml_lab.interp.cache import Cache, full_name, hook_names, run_with_cache
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.model.attention import Attention
from tml_lab.model.backbone import Backbone, Block
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import DenseMLP, MoE
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import offline_logits, offline_tokens
from tml_lab.stream.session import Session

TAPPED = {Backbone: "_torch", Block: "forward", Attention: "forward", MoE: "forward", DenseMLP: "forward"}
LAYER, HEAD = 1, 0  # what is ablated
SHORT, OFTEN = 8, 20  # positions of a short pass, and how many more rounds it gets
Rows = dict[str, Callable[[], Any]]


class WithoutTaps(ast.NodeTransformer):
    """The source as if taps had never been written: `tap is None` and `not taps` hold."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        known = isinstance(node.left, ast.Name) and node.left.id == "tap"
        return ast.Constant(isinstance(node.ops[0], ast.Is)) if known else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """`a and True` is `a`; no other constant comes up here."""
        self.generic_visit(node)
        node.values = [value for value in node.values if not isinstance(value, ast.Constant)]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """Of `x if True else y` the `x`."""
        if isinstance(node.test, ast.Name) and node.test.id == "taps":
            node.test = ast.Constant(False)
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return node.body if node.test.value else node.orelse

    def visit_If(self, node: ast.If) -> Any:
        """Likewise for statements."""
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return node.body if node.test.value else node.orelse


def untapped(model: InteractionModel) -> InteractionModel:
    """A copy of the model whose pass knows nothing of taps."""
    twin, classes = copy.deepcopy(model), {}
    for cls, method in TAPPED.items():
        function = getattr(cls, method)
        tree = ast.fix_missing_locations(WithoutTaps().visit(ast.parse(textwrap.dedent(inspect.getsource(function)))))
        assert not any(part in ast.unparse(tree) for part in ("tap is", ".look(", "taps.get"))
        scope = dict(function.__globals__)
        exec(compile(tree, f"<{cls.__name__} without taps>", "exec"), scope)
        classes[cls] = type(cls.__name__, (cls,), {method: scope[method]})
    for module in twin.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
    return twin


def record(model: InteractionModel, tokenizer: TextTokenizer, turns: int, seed: int) -> Recording:
    """A session that hears noise in every turn and sees noise in every fourth."""
    rng = np.random.default_rng(seed)
    session, (width, height) = Session(model, tokenizer, seed=seed), VIDEO_SIZE
    for turn in range(turns):
        frames = rng.integers(0, 256, (2, height, width, 3), np.uint8) if turn % 4 == 0 else None
        session.step((0.05 * rng.standard_normal(TURN_SAMPLES)).astype(np.float32), frames)
    return session.recording()


def silence(z: Tensor, hook: Any) -> Tensor:
    """Ours `[positions, heads, d_head]`, TransformerLens' with a batch axis."""
    z[..., HEAD, :] = 0.0
    return z


def off_rows(model: InteractionModel, logits: Callable[[InteractionModel], Tensor]) -> Rows:
    """One pass with nothing hooked; the first row is what the others are compared with."""
    bare, same = untapped(model), copy.deepcopy(model)
    assert torch.equal(logits(bare), logits(model))
    return {
        "ours: plain": lambda: logits(model),
        "ours: plain, a copy": lambda: logits(same),
        "ours: no taps in the source": lambda: logits(bare),
    }


@torch.no_grad()
def short_logits(model: InteractionModel) -> Tensor:
    """Of a pass over a few positions, from their embeddings."""
    x = torch.randn(1, SHORT, model.cfg.d_model, generator=torch.Generator().manual_seed(0))
    return model.text_logits(model(x))


def our_rows(model: InteractionModel, tokenizer: TextTokenizer, recording: Recording) -> Rows:
    """Off and on."""
    run = (model, tokenizer, recording)
    resid = [full_name("resid_post", layer) for layer in range(model.cfg.n_layers)]
    return off_rows(model, lambda m: offline_logits(recording, m)) | {
        "ours: cache of every name": lambda: run_with_cache(*run),
        "ours: cache of resid_post": lambda: run_with_cache(*run, names=resid),
        "ours: one head ablated": lambda: run_with_hooks(*run, [(full_name("z", LAYER), silence)]),
    }


def nnsight_rows(model: InteractionModel, recording: Recording) -> Rows:
    """The same of our model under nnsight, sounds and pictures embedded as in ours."""
    wrapped, names = wrap(model), hook_names(model.cfg)
    final, resid = [names[-1]], [name for name in names if name.endswith("resid_post")]

    def around(inside: Callable[[Tensor], dict[str, Tensor]]) -> Callable[[], Any]:
        @torch.no_grad()
        def whole() -> Any:
            found = inside(model.embed(offline_tokens(recording))[None])
            return found, model.text_logits(found[names[-1]][0]).float()

        return whole

    return {
        "nnsight: a trace, nothing asked": around(lambda x: see(wrapped, x, final)),
        "nnsight: every name": around(lambda x: see(wrapped, x, names)),
        "nnsight: resid_post": around(lambda x: see(wrapped, x, resid + final)),
        "nnsight: one head ablated": around(lambda x: {final[0]: without_head(wrapped, x, LAYER, HEAD)}),
    }


def transformer_lens_rows(model: InteractionModel, recording: Recording, tokenizer: TextTokenizer) -> Rows:
    """A dense model's twin: bare, then with TransformerLens' hooks; the first row is its plain pass."""
    embedded = run_with_cache(model, tokenizer, recording, ["hook_embed"])["hook_embed"]
    bare, hooked = hugging_face_twin(model, embedded), bridge(hugging_face_twin(model, embedded))
    words = torch.arange(len(embedded))[None]
    normed = [f"blocks.{layer}.attn.hook_{x}_normed" for layer in range(model.cfg.n_layers) for x in "qk"]
    alike = [*hook_names(model.cfg), *normed]
    rows = {
        "TransformerLens: plain, no hooks": lambda: bare(words).logits,
        "TransformerLens: hooks off": lambda: hooked(words),
        "TransformerLens: cache of every name": lambda: hooked.run_with_cache(words),
        "TransformerLens: cache of our names": lambda: hooked.run_with_cache(words, names_filter=alike),
        "TransformerLens: cache of resid_post": lambda: hooked.run_with_cache(
            words, names_filter=lambda name: name.endswith("hook_resid_post")
        ),
        "TransformerLens: one head ablated": lambda: hooked.run_with_hooks(
            words, fwd_hooks=[(full_name("z", LAYER), silence)]
        ),
    }
    return {name: torch.no_grad()(row) for name, row in rows.items()}


def kept_mib(result: Any) -> float:
    """MiB of distinct tensors in what a row gave back."""
    parts = [*result] if isinstance(result, tuple) else [result]
    tensors: list[Tensor] = []
    for part in parts:
        part = part.tensors if isinstance(part, Cache) else part
        tensors += [part] if isinstance(part, Tensor) else list(part.values())
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return round(sum(held.values()) / 2**20, 1)


def interleaved(groups: list[Rows], rounds: int, seed: int) -> dict[str, Any]:
    """Each row's median milliseconds of processor time, those above its group's first row, and the ratio to it with a
    95 % bootstrap interval."""
    rows = {name: row for group in groups for name, row in group.items()}
    kept = {name: kept_mib(row()) for name, row in rows.items()}  # and warm
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    order, rng = list(rows), random.Random(seed)
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            began = time.process_time()
            result = rows[name]()
            seconds[name].append(time.process_time() - began)
            del result
    found = {}
    for group in groups:
        plain = np.array(seconds[next(iter(group))])
        for name in group:
            spent = np.array(seconds[name])
            low, high = np.percentile(medians(spent / plain), [2.5, 97.5])
            found[name] = {
                "ms": round(1e3 * float(np.median(spent)), 2),
                "more_ms": round(1e3 * float(np.median(spent - plain)), 2),
                "ratio": round(float(np.median(spent / plain)), 4),
                "ratio_95": [round(float(low), 4), round(float(high), 4)],
                "kept_mib": kept[name],
            }
    return found


def measure(model: InteractionModel, tokenizer: TextTokenizer, turns: int, rounds: int, seed: int) -> dict[str, Any]:
    """Ours and nnsight on the given model; ours and TransformerLens on a dense one of its sizes."""
    model = copy.deepcopy(model)  # as nnsight's is: a pass's time depends on where loaded weights lie in memory
    recording = record(model, tokenizer, turns, seed)
    dense = dense_model(model.cfg, seed)
    other = record(dense, tokenizer, turns, seed)
    first = our_rows(model, tokenizer, recording) | nnsight_rows(model, recording)
    theirs = transformer_lens_rows(dense, other, tokenizer)
    ours = our_rows(dense, tokenizer, other)
    return {
        "positions": {"short": SHORT, "model": len(recording.tokens), "dense": len(other.tokens)},
        "rounds": rounds,
        "short": interleaved([off_rows(model, short_logits)], rounds * OFTEN, seed),
        "model": interleaved([first], rounds, seed),
        "dense": interleaved([ours, theirs], rounds, seed),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The parts as tables."""
    dense = "a dense model of its sizes, random weights"
    for part, label in (("short", result["checkpoint"]), ("model", result["checkpoint"]), ("dense", dense)):
        title = f"{label}, {result['positions'][part]} positions, {result['threads']} thread(s)"
        table = Table(title=title, title_justify="left", padding=(0, 0))
        for column in ("", "ms", "more", "ratio", "95 %", "MiB"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        for name, row in result[part].items():
            low, high = row["ratio_95"]
            cells = f"{row['ms']:.1f}", f"{row['more_ms']:.1f}", f"{row['ratio']:.3f}", f"{low:.2f}-{high:.2f}"
            table.add_row(name, *cells, f"{row['kept_mib']:.1f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=30, help="of the recording")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer, label = load(options.checkpoint)
    result = {
        "benchmark": "hooks_overhead",
        "date": now(),
        "machine": machine(),
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "checkpoint": label,
        **measure(model, tokenizer, options.turns, options.rounds, options.seed),
    }
    show(result, Console())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
