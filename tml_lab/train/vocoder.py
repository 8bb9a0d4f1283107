"""Train the vocoder on the reply voice: `python -m tml_lab.train.vocoder`.

The vocoder speaks one voice and a closed vocabulary, so it learns from that voice's own clips, strung
together with gaps. Its input is disturbed in training, because at work it is fed by the flow head, which
errs a little.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from tml_lab.config import OUT_FRAMES_PER_TURN, OUT_HOP, SAMPLE_RATE, TURN_SAMPLES
from tml_lab.model.few_bits import unpack
from tml_lab.model.vocoder import VOCODER_DELAY, Vocoder
from tml_lab.signal.mel import mel_filters
from tml_lab.signal.out_mel import MEL_STD, OUT_N_FFT, normalise, out_mel
from tml_lab.worlds.reply_voice import reply_audio, reply_words

CONTEXT_FRAMES = OUT_FRAMES_PER_TURN  # heard before the frames that are judged
JUDGED_FRAMES = 4 * OUT_FRAMES_PER_TURN
RESOLUTIONS = ((2048, 400), (1024, 200), (512, 100), (256, 50))  # (window = FFT size, hop), samples
FLOOR = 3e-4  # magnitudes below it are all alike to the loss: about 70 dB under speech
SPEEDS = (0.97, 1.0, 1.0, 1.03)


def passages(n_seconds: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Reply words in random order: their mel `[frames, 80]` and the delayed sound `[frames * 200]`."""
    words, pieces, total = reply_words(), [], 0
    while total < n_seconds * SAMPLE_RATE:
        clip = reply_audio(words[rng.integers(len(words))])
        speed = SPEEDS[rng.integers(len(SPEEDS))]
        if speed != 1.0:  # pitch and pace together
            clip = soxr.resample(clip, SAMPLE_RATE * speed, SAMPLE_RATE)
            clip = np.pad(clip, (0, -len(clip) % TURN_SAMPLES))
        gap = np.zeros(TURN_SAMPLES * int(rng.integers(1, 3)) if rng.random() < 0.3 else 0, np.float32)
        pieces += [clip * np.float32(10 ** (rng.uniform(-4, 2) / 20)), gap]
        total += len(clip) + len(gap)
    sound = torch.from_numpy(np.concatenate(pieces).clip(-1, 1))  # [n]
    delayed = F.pad(sound, (VOCODER_DELAY, 0))[: len(sound)]
    return normalise(out_mel(sound)), delayed


class Batches:
    """Random windows of random passages; a draw depends on seed and step alone, so that runs can resume."""

    def __init__(self, seed: int, n_passages: int = 12, n_seconds: float = 60.0) -> None:
        drawn = [passages(n_seconds, np.random.default_rng([seed, i])) for i in range(n_passages)]
        self.mels = [mel for mel, _ in drawn]
        self.sounds = [sound for _, sound in drawn]
        self.seed = seed

    def draw(self, step: int, batch: int, max_noise: float) -> tuple[Tensor, Tensor]:
        """Disturbed mel `[B, 80 frames, 80]` and the clean sound of the judged frames `[B, 64 * 200]`."""
        rng = np.random.default_rng([self.seed, 1, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        n_frames = CONTEXT_FRAMES + JUDGED_FRAMES
        mels, sounds = [], []
        for _ in range(batch):
            which = int(rng.integers(len(self.mels)))
            start = int(rng.integers(len(self.mels[which]) - n_frames))
            mels.append(self.mels[which][start : start + n_frames])
            first = (start + CONTEXT_FRAMES) * OUT_HOP
            sounds.append(self.sounds[which][first : first + JUDGED_FRAMES * OUT_HOP])
        mel = torch.stack(mels)  # [B, 80, 80]
        # Some windows stay clean; in the others each frame errs by itself and the whole window errs together.
        size = max_noise * torch.rand(batch, 1, 1, generator=generator) ** 2  # [B, 1, 1]
        mel = mel + size * torch.randn(mel.shape, generator=generator)
        mel = mel + size * torch.randn(batch, 1, mel.shape[2], generator=generator)
        return mel, torch.stack(sounds)


def _magnitude(sound: Tensor, n_fft: int, hop: int) -> Tensor:
    """`[B, n]` -> `[B, n_fft // 2 + 1, frames]`, scaled so that its size is the sound's own."""
    window = torch.hann_window(n_fft, device=sound.device)
    spectrum = torch.stft(sound, n_fft, hop, window=window, center=False, return_complex=True)
    power = torch.view_as_real(spectrum).pow(2).sum(-1)  # [B, bins, frames]
    return (power + (FLOOR * 0.1) ** 2).sqrt() / math.sqrt(float(window.square().sum()))


def sound_loss(made: Tensor, real: Tensor) -> dict[str, Tensor]:
    """How far `made [B, n]` is from `real [B, n]`: log magnitudes, spectral convergence, and mel L1.

    Source: Yamamoto et al. 2020 (Parallel WaveGAN), arXiv 1910.11480, for the first two.
    """
    log_part = made.new_zeros(())
    convergence = made.new_zeros(())
    mel_part = made.new_zeros(())
    for n_fft, hop in RESOLUTIONS:
        ours, theirs = _magnitude(made, n_fft, hop), _magnitude(real, n_fft, hop)
        log_part = log_part + F.l1_loss((ours + FLOOR).log(), (theirs + FLOOR).log()) / len(RESOLUTIONS)
        gap = (ours - theirs).square().sum((1, 2)).sqrt() / (theirs.square().sum((1, 2)).sqrt() + 0.05)
        convergence = convergence + gap.mean() / len(RESOLUTIONS)
        if n_fft == OUT_N_FFT:
            filters = mel_filters(n_fft).to(made.device)  # [80, bins]
            mels = [(filters @ x + 1e-5).log() / MEL_STD for x in (ours, theirs)]  # [B, 80, frames]
            mel_part = F.l1_loss(mels[0], mels[1])
    return {"log": log_part, "convergence": convergence, "mel": mel_part}


def total(parts: dict[str, Tensor]) -> Tensor:
    """The weighted sum that is minimised."""
    return parts["log"] + parts["convergence"] + 2.0 * parts["mel"]


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    """Linear warm-up, then a cosine to one percent."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


def train_vocoder(
    steps: int = 4000,
    batch: int = 12,
    out: Path | None = None,
    run: Path | None = None,
    lr: float = 2e-3,
    seed: int = 0,
    width: int = 192,
    depth: int = 6,
    max_noise: float = 0.35,
    save_every: int = 250,
    device: str = "cpu",
    report: Callable[[int, dict[str, float]], None] | None = None,
    stop: int | None = None,
    n_passages: int = 12,
    n_seconds: float = 60.0,
) -> Vocoder:
    """Train on the reply voice and return the vocoder; nano takes about 15 minutes of one CPU core.

    Args: out: where the weights go (safetensors). run: a folder for resuming; an unfinished run there goes
    on. max_noise: largest standard deviation added to the normalised mel. report: called at every save with
    the losses. stop: end before `steps`, to go on later. n_passages, n_seconds: how much sound to draw.
    """
    torch.manual_seed(seed)
    model = Vocoder(width, depth).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=1e-3)
    first = 0
    saved = run / "state.pt" if run else None
    if saved and saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    batches = Batches(seed, n_passages, n_seconds)
    last = steps if stop is None else min(stop, steps)
    bar = tqdm(range(first, last), initial=first, total=steps, desc="vocoder", mininterval=5)
    average: dict[str, float] = {}
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, lr)
        mel, real = (x.to(device) for x in batches.draw(step, batch, max_noise))
        made = model.step(mel, model.blank_state(batch))[:, CONTEXT_FRAMES * OUT_HOP :]  # [B, 64 * 200]
        parts = sound_loss(made, real)
        loss = total(parts)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        for name, value in parts.items():
            average[name] = 0.98 * average.get(name, float(value.detach())) + 0.02 * float(value.detach())
        bar.set_postfix({k: f"{v:.3f}" for k, v in average.items()}, refresh=False)
        if (step + 1) % save_every == 0 or step + 1 == last:
            save(model, optimiser, step + 1, out, saved)
            if report:
                report(step + 1, dict(average))
    return model.eval()


def save(
    model: Vocoder, optimiser: torch.optim.Optimizer, step: int, out: Path | None, saved: Path | None
) -> None:
    """Write the weights and, for resuming, the optimiser; each file appears whole or not at all."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".tmp")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, partial)
        os.replace(partial, out)
    if saved:
        saved.parent.mkdir(parents=True, exist_ok=True)
        partial = saved.with_suffix(".tmp")
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial)
        os.replace(partial, saved)


def load_vocoder(path: Path, width: int = 192, depth: int = 6) -> Vocoder:
    """Read weights written by `train_vocoder`, or the vocoder's part of a whole model's checkpoint.

    Raises FileNotFoundError with what to run.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no vocoder weights at {path}; run python -m tml_lab.train.vocoder --out {path}"
        )
    model = Vocoder(width, depth)
    tensors = unpack(load_file(path))
    part = {k.removeprefix("vocoder."): t for k, t in tensors.items() if k.startswith("vocoder.")}
    model.load_state_dict(part or tensors)
    return model.eval()


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=Path("runs/vocoder/vocoder.safetensors"))
    parser.add_argument("--run", type=Path, default=Path("runs/vocoder"))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    train_vocoder(
        **vars(args),
        report=lambda step, parts: print(step, {k: round(v, 4) for k, v in parts.items()}, flush=True),
    )


if __name__ == "__main__":
    main()
