"""Another mouth for a trained model: a larger flow head, trained alone, and a vocoder that has been trained before.

    python -m tml_lab.train.mouth runs/pico_eyes runs/pico_eyes_speaks --episodes data/cache/episodes-first_sight

A small model's hidden states know better what is to sound than its small flow head can say: they are recorded once, on
the turns in which it speaks, and the new head learns from them in minutes. All other weights stay as they are, to the
bit. What it decides may change all the same, for it hears itself: who mumbles does not know what they have just said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from torch import Tensor

from tml_lab.model.checkpoint import checkpoint_dir, load_checkpoint, read_notes, save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.vocoder import Vocoder
from tml_lab.train.as_shipped import as_shipped
from tml_lab.train.feed import Batch, Feed
from tml_lab.train.vocoder import load_vocoder

BATCH = 1024  # hidden states of a step
RATE = 2e-3
SHIPPED_FROM = 0.7  # from this share of the steps on with the bits it is shipped in


def with_mouth(
    model: InteractionModel, width: int, depth: int, vocoder: Vocoder, temperature: float = 1.0
) -> InteractionModel:
    """The same model with an untrained flow head of that size and this vocoder; only that head is to learn.

    `temperature`: of the noise it will start from; without any, a head that errs says what is likeliest.
    """
    sizes = {"flow_width": width, "flow_depth": depth, "vocoder_width": vocoder.width}
    cfg = model.cfg.with_(**sizes, vocoder_depth=len(vocoder.blocks), flow_temperature=temperature)
    other = InteractionModel(cfg)
    kept = {name: t for name, t in model.state_dict().items() if not name.startswith(("flow.", "vocoder."))}
    lent = {f"vocoder.{name}": t for name, t in vocoder.state_dict().items()}
    other.load_state_dict(kept | lent, strict=False)
    other.requires_grad_(False).flow.requires_grad_(True)
    return other.to(next(model.parameters()).device).eval()


@torch.no_grad()
def spoken_states(model: InteractionModel, batches: Iterable[Batch], n: int) -> tuple[Tensor, Tensor]:
    """At least `n` hidden states from which a piece of voice is made, and these pieces: `[n, d_model]`, `[n, 320]`.

    In training the pieces before are the reply voice's own, a little disturbed: so they are here. The weights are those
    that will be shipped.
    """
    hidden, voice, found = [], [], 0
    device = next(model.parameters()).device
    with as_shipped(model):
        for batch in batches:
            batch = batch.to(device)
            rows, length = batch.shape
            states = model(model.embed(batch.tokens).view(rows, length, -1)).reshape(rows * length, -1)
            hidden.append(states[batch.voice_from])  # [pieces, d_model]
            voice.append(batch.voice_target)
            found += len(batch.voice_target)
            if found >= n:
                break
    return torch.cat(hidden), torch.cat(voice)


def train_mouth(model: InteractionModel, hidden: Tensor, voice: Tensor, steps: int, seed: int = 0) -> float:
    """Train a model's flow head alone, on hidden states `[n, d_model]` and their voice `[n, 320]`.

    Returns its error (of the velocity, squared) on a tenth that it did not learn from. An interrupt ends it early, with
    the weights that it has.
    """
    flow = model.flow
    generator = torch.Generator(hidden.device).manual_seed(seed)
    held = max(1, len(hidden) // 10)
    optimizer = torch.optim.AdamW(flow.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.0)
    warmup = max(1, steps // 20)
    try:
        for step in track(range(steps), "mouth"):
            some = torch.randint(held, len(hidden), (BATCH,), generator=generator, device=hidden.device)
            for group in optimizer.param_groups:
                group["lr"] = RATE * min((step + 1) / warmup, (steps - step) / (steps - warmup + 1))
            with as_shipped(model) if step >= SHIPPED_FROM * steps else nullcontext():
                flow.loss(hidden[some], voice[some], generator).backward()
            optimizer.step()
            optimizer.zero_grad()
    except KeyboardInterrupt:
        print("stopped: what it has learned so far is kept")
    with torch.no_grad(), as_shipped(model):
        return float(flow.loss(hidden[:held], voice[:held], generator))


def main(
    run: Annotated[Path, typer.Argument(help="Checkpoint whose mouth is to be replaced.")],
    out: Annotated[Path, typer.Argument(help="Where the model with the new one goes.")],
    episodes: Annotated[Path, typer.Option(help="Folder of rendered episodes in which it speaks.")],
    steps: Annotated[int, typer.Option(min=1, help="Of the flow head's training.")] = 3000,
    states: Annotated[int, typer.Option(min=100, help="Hidden states to learn from.")] = 40_000,
    width: Annotated[int, typer.Option(help="Of the flow head.")] = 256,
    depth: Annotated[int, typer.Option(help="Of the flow head.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="Of the noise that it starts from.")] = 0.0,
    vocoder: Annotated[str, typer.Option(help="Checkpoint that lends its vocoder.")] = "nano",
    seed: Annotated[int, typer.Option(help="Of the head's first weights and of what it learns from.")] = 0,
) -> None:
    """Give a trained model another mouth."""
    model, tokenizer = load_checkpoint(run)
    donor, _ = load_checkpoint(vocoder)
    lent = load_vocoder(checkpoint_dir(vocoder) / "model.safetensors", donor.cfg.vocoder_width, donor.cfg.vocoder_depth)
    torch.manual_seed(seed)
    speaks = with_mouth(model, width, depth, lent, temperature)
    began = time.monotonic()
    batches = track(Feed(episodes, tokenizer, seed + 1), "listen to itself", total=None)
    hidden, voice = spoken_states(model.requires_grad_(True).eval(), batches, states)
    error = train_mouth(speaks, hidden, voice, steps, seed)
    notes = {key: value for key, value in read_notes(run).items() if key != "log"}
    mouth = {"steps": steps, "states": len(hidden), "error": round(error, 4), "vocoder": vocoder}
    save_checkpoint(out, speaks, tokenizer, notes | {"mouth": mouth})
    typer.echo(f"{out}: the mouth errs by {error:.4f}, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    typer.run(main)
