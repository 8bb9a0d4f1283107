"""The flow head: what it learns, what it repeats, what it refuses."""

from __future__ import annotations

import pytest
import torch

from tml_lab.model.flow import TIME_MEAN, TIME_STD, FlowHead, sample_times


def make_head(seed: int = 0, **sizes: int) -> FlowHead:
    torch.manual_seed(seed)
    return FlowHead(**({"d_model": 4, "n_out": 2, "width": 32, "depth": 2} | sizes))


def shake(head: FlowHead) -> None:
    """Random weights everywhere: a zero-initialised head would pass many checks by answering zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_a_new_head_has_zero_velocity_and_blocks_that_pass_through() -> None:
    head = make_head()
    x, t, h = torch.randn(5, 2), torch.rand(5), torch.randn(5, 4)
    assert torch.equal(head.velocity(x, t, h), torch.zeros(5, 2))
    inner = torch.randn(5, 32)
    assert torch.equal(head.blocks[0](inner, torch.zeros(5, 96)), inner)


def test_times_are_log_normal_noise_to_signal_ratios() -> None:
    t = sample_times(20_000, torch.Generator().manual_seed(0))
    assert t.min() > 0 and t.max() < 1
    log_ratio = ((1 - t) / t).log()
    assert log_ratio.mean().item() == pytest.approx(TIME_MEAN, abs=0.03)
    assert log_ratio.std().item() == pytest.approx(TIME_STD, abs=0.03)


def test_it_learns_two_points_that_depend_on_the_hidden_state() -> None:
    # Four cells: hidden state 0 or 1, and in each one of two points, equally often. A mean-squared
    # regressor would answer with the middle of the two points; a flow must land on one or the other, each
    # about half of the time.
    points = torch.tensor([[[1.0, 1.0], [-1.0, 1.0]], [[1.0, -1.0], [-1.0, -1.0]]])  # [hidden, choice, 2]
    states = torch.eye(4)[:2]  # [hidden, 4]
    head = make_head(width=64)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        hidden = torch.randint(2, (64,), generator=generator)
        choice = torch.randint(2, (64,), generator=generator)
        loss = head.loss(states[hidden], points[hidden, choice], generator, repeats=2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for hidden in range(2):
        made = head.sample(
            states[hidden].expand(200, 4), torch.randn(200, 2, generator=generator), n_steps=16
        )
        distance = torch.cdist(made, points[hidden])  # [200, 2]
        assert (distance.min(dim=1).values < 0.35).float().mean() > 0.9
        share = (distance.argmin(dim=1) == 0).float().mean().item()
        assert 0.3 < share < 0.7
        assert made[:, 1].mean().item() == pytest.approx(points[hidden, 0, 1].item(), abs=0.15)


def test_the_same_noise_gives_the_same_token_alone_or_in_a_batch() -> None:
    head = make_head(d_model=16, n_out=320, width=64)
    shake(head)
    h, noise = torch.randn(6, 16), torch.randn(6, 320)
    together = head.sample(h, noise)
    assert torch.equal(together, head.sample(h, noise))
    alone = torch.cat([head.sample(h[i : i + 1], noise[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_one_euler_step_is_noise_plus_velocity() -> None:
    head = make_head()
    shake(head)
    h, noise = torch.randn(3, 4), torch.randn(3, 2)
    expected = noise + head.velocity(noise, torch.zeros(3), h)
    torch.testing.assert_close(head.sample(h, noise, n_steps=1), expected)
    # four steps, by hand
    x = noise
    for i in range(4):
        x = x + head.velocity(x, torch.full((3,), i / 4), h) / 4
    torch.testing.assert_close(head.sample(h, noise, n_steps=4), x)


def test_temperature_zero_forgets_the_noise() -> None:
    head = make_head()
    shake(head)
    h = torch.randn(3, 4)
    cold = [head.sample(h, torch.randn(3, 2), temperature=0.0) for _ in range(2)]
    assert torch.equal(cold[0], cold[1])


def test_the_loss_is_the_mean_over_repeats_and_reaches_the_hidden_state() -> None:
    head = make_head()
    h = torch.randn(7, 4, requires_grad=True)
    x1 = torch.randn(7, 2)
    # the velocity of a new head is zero: its loss is the mean square of (x1 - noise), about 1 + mean(x1^2)
    loss = head.loss(h, x1, torch.Generator().manual_seed(0), repeats=500)
    assert loss.item() == pytest.approx(1 + x1.square().mean().item(), rel=0.1)
    shake(head)
    head.loss(h, x1).backward()
    assert h.grad is not None and h.grad.abs().max() > 0


def test_an_empty_batch_costs_nothing_and_keeps_the_graph() -> None:
    head = make_head()
    h = torch.zeros(0, 4, requires_grad=True)
    loss = head.loss(h, torch.zeros(0, 2))
    assert loss.item() == 0.0 and loss.requires_grad
    assert head.sample(torch.zeros(0, 4), torch.zeros(0, 2)).shape == (0, 2)


def test_wrong_shapes_are_named() -> None:
    head = make_head()
    with pytest.raises(ValueError, match=r"targets \[3, 2\]"):
        head.loss(torch.zeros(3, 4), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"noise \[3, 2\]"):
        head.sample(torch.zeros(3, 4), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="at least one Euler step"):
        head.sample(torch.zeros(3, 4), torch.zeros(3, 2), n_steps=0)
