"""From a run to what is shipped: weights in few bits, the voice's vocoder inside, no optimizer state.

Run `python -m tml_lab.train.ship runs/nano data/checkpoints/nano`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint, read_notes, save_checkpoint
from tml_lab.model.few_bits import pack
from tml_lab.train.vocoder import load_vocoder

LIMIT = 40_000_000  # bytes a shipped checkpoint may have


def ship(run: Path, out: Path, vocoder: Path | None = None) -> Path:
    """Write the shipped form of a run's checkpoint; `vocoder` replaces its vocoder's weights.

    Raises ValueError when the weights would be larger than the repository's limit.
    """
    model, tokenizer = load_checkpoint(run)
    if vocoder is not None:
        trained = load_vocoder(vocoder, model.cfg.vocoder_width, model.cfg.vocoder_depth)
        model.vocoder.load_state_dict(trained.state_dict())
    n_bytes = sum(t.nbytes for t in pack(model.state_dict()).values())
    if n_bytes > LIMIT:
        raise ValueError(
            f"{run}: {n_bytes / 1e6:.1f} MB in few bits is over the limit of {LIMIT / 1e6:.0f} MB"
        )
    notes = {key: value for key, value in read_notes(run).items() if key != "log"}
    save_checkpoint(out, model, tokenizer, notes, packed=True)
    return out


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Argument(help="Where the shipped checkpoint goes.")],
    vocoder: Annotated[Path | None, typer.Option(help="Vocoder weights to use instead of the run's.")] = None,
) -> None:
    """Ship a run."""
    ship(run, out, vocoder)
    typer.echo(f"{out}: weights {checkpoint_hash(out)}")


if __name__ == "__main__":
    typer.run(main)
