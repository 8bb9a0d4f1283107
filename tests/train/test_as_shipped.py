"""Under `as_shipped` the model is the shipped one; outside it is itself, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.text import TextTokenizer
from tml_lab.train.as_shipped import as_shipped
from tml_lab.train.ship import ship

TOKENIZER = TextTokenizer.build(["one", "two"])
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.fixture
def model() -> InteractionModel:
    """Pico as in the middle of training: no parameter at zero, biases nudged, the vocoder frozen."""
    model = new_model("pico", TOKENIZER)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn_like(p)
        for name, buffer in model.named_buffers():
            if name.endswith("router.bias"):
                buffer += 0.01 * torch.randn_like(buffer)
    model.vocoder.requires_grad_(False)
    return model


def answers(model: InteractionModel) -> list[Tensor]:
    """What every part that is trained makes of some input."""
    generator = torch.Generator().manual_seed(1)
    stream = torch.tensor([2, 0, 4, 1, 3] * 8)
    n = len(stream) // 5
    tokens = Tokens(
        stream,
        torch.randint(TOKENIZER.size, stream.shape, generator=generator),
        torch.arange(len(stream)) // 5,
        torch.arange(len(stream)) % 5 == 0,
        torch.randint(16, (n, 80), generator=generator),
        torch.randint(16, (n, 320), generator=generator),
        torch.randn(n, 2, 40, 40, 3, generator=generator),
    )
    hidden = model(model.embed(tokens)[None])[0]
    noise = torch.randn(n, 320, generator=generator)
    flow = model.flow.loss(hidden[:n], noise, generator=torch.Generator().manual_seed(2))
    return [hidden, model.text_logits(hidden), flow]


def contents(model: InteractionModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: InteractionModel, was: dict[str, Tensor]) -> list[str]:
    return [
        n
        for n, t in model.state_dict().items()
        if not torch.equal(t.view(-1).view(torch.uint8), was[n].view(-1).view(torch.uint8))
    ]


def test_inside_it_is_the_shipped_model_and_outside_itself(model: InteractionModel, tmp_path: Path) -> None:
    was = contents(model)
    save_checkpoint(tmp_path / "run", model, TOKENIZER, {})
    shipped, _ = load_checkpoint(ship(tmp_path / "run", tmp_path / "out"))
    model.eval()
    with torch.no_grad():
        plain = answers(model)
        with as_shipped(model):
            inside = answers(model)
            for name, tensor in model.state_dict().items():
                want = was[name] if name.startswith("vocoder.") else shipped.state_dict()[name]
                assert torch.equal(tensor, want), name
        for one, two, other in zip(inside, answers(shipped), plain, strict=True):
            assert torch.equal(one, two) and not torch.equal(one, other)
    assert not changed(model, was)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_those_of_the_rounded_weights(model: InteractionModel, device: str) -> None:
    model = model.to(device)
    head = model.unembed
    x = torch.randn(5, head.in_features, device=device)
    addresses = [p.data_ptr() for p in model.parameters()]
    with as_shipped(model):
        rounded = head.weight.detach().clone()
        head(head(x) @ head.weight).square().sum().backward()
    grad = head.weight.grad
    alone = rounded.clone().requires_grad_()
    (((x @ alone.T) @ alone) @ alone.T).square().sum().backward()
    assert (
        grad is not None and alone.grad is not None and torch.allclose(grad, alone.grad, rtol=1e-3, atol=1e-3)
    )
    assert not torch.equal(head.weight, rounded)
    assert [p.data_ptr() for p in model.parameters()] == addresses


def test_a_backward_pass_after_leaving_is_noticed(model: InteractionModel) -> None:
    with as_shipped(model):
        loss = (torch.randn(3, model.cfg.d_model).requires_grad_() @ model.unembed.weight.T).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("device", DEVICES)
def test_an_exception_puts_the_weights_back(model: InteractionModel, device: str) -> None:
    model = model.to(device)
    with torch.no_grad():
        model.embed_stream[0, 0] = float("nan")  # a run that diverges is stopped elsewhere
        model.unembed.weight[0, 0] = -0.0
    was = contents(model)
    with pytest.raises(KeyError), as_shipped(model):
        assert changed(model, was)
        raise KeyError
    assert not changed(model, was)


def test_half_precision_copies_are_not_kept_across_the_border(model: InteractionModel) -> None:
    x = torch.randn(4, model.cfg.d_model)
    with torch.autocast("cpu", torch.bfloat16):
        before = model.unembed(x)
        with as_shipped(model):
            inside = model.unembed(x)
        after = model.unembed(x)
    assert torch.equal(before, after) and not torch.equal(before, inside)


def test_weights_in_shares_are_refused(model: InteractionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tml_lab.train.as_shipped.is_sharded", lambda _: True)
    with pytest.raises(ValueError, match="needs whole weights"), as_shipped(model):
        pass
