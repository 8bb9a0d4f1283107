"""Patches: layout, padding and numbers of Inkling's image processor."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.signal.errors import SignalError
from tml_lab.signal.patches import frames_to_patches, n_patches, patches_to_frames


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Two frames of random pixels, uint8 `[2, H, W, 3]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)


def test_default_camera_gives_twelve_patches_row_by_row() -> None:
    frames = torch.zeros(2, 120, 160, 3, dtype=torch.uint8)
    for row in range(3):
        for column in range(4):
            frames[:, 40 * row : 40 * row + 40, 40 * column : 40 * column + 40] = 4 * row + column
    patches = frames_to_patches(frames)
    assert patches.shape == (12, 2, 40, 40, 3)
    red = patches[:, 0, 0, 0, 0]
    assert torch.equal(red, red.sort().values) and len(red.unique()) == 12


def test_numbers_against_the_formula() -> None:
    frames = picture(40, 40)
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    expected = (frames.double().numpy() / 255 - mean) / std
    np.testing.assert_allclose(frames_to_patches(frames)[0].numpy(), expected, atol=1e-6)


def test_time_is_kept() -> None:
    frames = picture(80, 40)
    patches = frames_to_patches(frames)
    assert torch.equal(patches[:, 0], frames_to_patches(frames[[0, 0]])[:, 0])
    assert torch.equal(patches[:, 1], frames_to_patches(frames[[1, 1]])[:, 1])
    assert not torch.equal(patches[:, 0], patches[:, 1])


@given(height=st.integers(1, 130), width=st.integers(1, 130))
def test_every_pixel_comes_back(height: int, width: int) -> None:
    frames = picture(height, width)
    patches = frames_to_patches(frames)
    assert len(patches) == n_patches(height, width)
    assert torch.equal(patches_to_frames(patches, height, width), frames)


# First 16 digits of the SHA-256 of what InklingImageProcessor (transformers 5.23) makes of `picture(height, width)`.
INKLING = {
    (120, 160): "a9c87bd3d722d9ba",
    (121, 170): "81227b70d7ff88d9",
    (37, 55): "cbdae7152f7777a8",
    (40, 41): "5400ca3b8bfde99f",
}


@pytest.mark.parametrize(("height", "width"), INKLING)
def test_bits_recorded_from_inkling(height: int, width: int) -> None:
    still = picture(height, width)[0]
    patches = frames_to_patches(torch.stack([still, still])).contiguous()
    assert hashlib.sha256(patches.numpy().tobytes()).hexdigest()[:16] == INKLING[height, width]


@pytest.mark.parametrize(("height", "width"), INKLING)
def test_equal_to_inkling(height: int, width: int) -> None:
    pytest.importorskip("torchvision", reason="Inkling's image processor needs torchvision")
    inkling = pytest.importorskip("transformers.models.inkling.image_processing_inkling")
    still = picture(height, width)[0]
    theirs = inkling.InklingImageProcessor()(images=[still.permute(2, 0, 1)], return_tensors="pt")[
        "pixel_values"
    ]
    rows, columns = -(-height // 40), -(-width // 40)
    # Theirs adds a column of padding where the width is a multiple of 40.
    theirs = theirs.view(rows, -1, 2, 40, 40, 3)[:, :columns].reshape(-1, 2, 40, 40, 3)
    assert torch.equal(frames_to_patches(torch.stack([still, still])), theirs)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (torch.zeros(2, 40, 40, 3), "uint8"),
        (torch.zeros(40, 40, 3, dtype=torch.uint8), "give a still twice"),
        (torch.zeros(3, 40, 40, 3, dtype=torch.uint8), r"\[2, H, W, 3\]"),
        (torch.zeros(2, 3, 40, 40, dtype=torch.uint8), "RGB"),
        (torch.zeros(2, 0, 40, 3, dtype=torch.uint8), "40x0 pixels"),
    ],
)
def test_bad_pictures_are_named(frames: torch.Tensor, sentence: str) -> None:
    with pytest.raises(SignalError, match=sentence):
        frames_to_patches(frames)


def test_patches_of_another_size_are_refused() -> None:
    with pytest.raises(SignalError, match=r"160x120 picture gives \[12"):
        patches_to_frames(torch.zeros(11, 2, 40, 40, 3), 120, 160)
