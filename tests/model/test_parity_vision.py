"""hMLP against transformers' InklingVisionModel: the whole tower and layer by layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from tml_lab.model.vision import FOLDS, HMLP, fold
from tml_lab.signal.patches import frames_to_patches

modeling = pytest.importorskip("transformers.models.inkling.modeling_inkling")
configuration = pytest.importorskip("transformers.models.inkling.configuration_inkling")

D_MODEL = 24


def paired_towers() -> tuple[HMLP, Any]:
    """Our tower of Inkling's widths and transformers' own, with the same random weights."""
    config = configuration.InklingVisionConfig(text_hidden_size=D_MODEL, num_hidden_layers=len(FOLDS))
    theirs = modeling.InklingVisionModel(config).eval()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            # Norm weights away from one, or a forgotten norm would go unseen.
            weight.uniform_(0.5, 1.5) if "norm" in name else weight.normal_(std=weight.shape[1] ** -0.5)
    ours = HMLP(D_MODEL, (128, 320, 4800)).eval()
    state = {
        name.replace("encoder_layers", "layers")
        .replace("layer_norm", "norm")
        .replace("final_norm", "norm"): weight
        for name, weight in theirs.state_dict().items()
    }
    ours.load_state_dict(state)  # strict: the same tensors, of the same shapes
    return ours, theirs


def test_tower_equals_inkling() -> None:
    ours, theirs = paired_towers()
    frames = torch.randint(0, 256, (2, 120, 160, 3), dtype=torch.uint8)
    patches = frames_to_patches(frames)  # [12, 2, 40, 40, 3]
    expected = theirs(patches).pooler_output.flatten(1)  # [12, d_model]
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(patches), expected, atol=1e-5, rtol=1e-5)
    x_ours, x_theirs = patches, patches
    for ours_layer, theirs_layer in zip(ours.layers, theirs.encoder_layers, strict=True):
        x_ours, x_theirs = ours_layer(x_ours), theirs_layer(x_theirs)
        torch.testing.assert_close(x_ours, x_theirs, atol=1e-5, rtol=1e-5)


def test_folds_are_the_planned_ones() -> None:
    scales = modeling.plan_out_scales(2, 40, len(FOLDS), 3)  # [5, 4]: t, h, w, channels
    planned = [(int(b[0] // a[0]), int(b[1] // a[1])) for a, b in pairwise(scales)]
    assert planned == list(FOLDS)
    assert scales[1:4, 3].tolist() == [128, 320, 4800]


def test_fold_moves_every_number_to_its_place() -> None:
    x = torch.arange(2 * 2 * 4 * 4 * 3).view(2, 2, 4, 4, 3)
    folded = fold(x, 1, 2)
    assert folded.shape == (2, 2, 2, 2, 12)
    # Position (row 1, column 0): pixels (2, 0), (2, 1), (3, 0), (3, 1), three channels each.
    assert folded[1, 0, 1, 0].tolist() == x[1, 0, 2:4, 0:2].flatten().tolist()
    in_time = fold(x, 2, 1)
    assert in_time.shape == (2, 1, 4, 4, 6)
    assert in_time[0, 0, 1, 2].tolist() == x[0, :, 1, 2].flatten().tolist()


def test_a_patch_does_not_see_the_others() -> None:
    tower = HMLP(16, (8, 8, 8)).eval()
    patches = torch.randn(5, 2, 40, 40, 3)
    others = patches.clone()
    others[1:] = 0
    assert torch.equal(tower(patches)[0], tower(others)[0])
    assert tower(patches).shape == (5, 16)
    with pytest.raises(ValueError, match=r"\[n, 2, 40, 40, 3\]"):
        tower(patches[:, :1])
