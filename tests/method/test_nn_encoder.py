"""Attention by products and dropout by drawn bits, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ddcl_tab.nn import _network as encoder
from ddcl_tab.nn._network import Attention, Dropout


def tokens(n: int, d: int = 8) -> torch.Tensor:
    return torch.randn(3, n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def attention(n_heads: int, d: int = 8) -> Attention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Attention(d, n_heads).double()


@pytest.mark.parametrize("n_heads", [1, 2, 8])
@pytest.mark.parametrize("n_tokens", [1, 3, 5])
@pytest.mark.parametrize("few", [0, 100])  # torch's fused attention, three products
def test_attention_is_torchs_multi_head_attention(n_heads, n_tokens, few, monkeypatch):
    monkeypatch.setattr(encoder, "FEW_TOKENS", few)
    ours, x = attention(n_heads), tokens(n_tokens).requires_grad_()
    weight = torch.cat([ours.query.weight, ours.key_value.weight])
    bias = torch.cat([ours.query.bias, ours.key_value.bias])
    expected, _ = functional.multi_head_attention_forward(
        x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), 8, n_heads, weight, bias, None, None,
        False, 0.0, ours.out.weight, ours.out.bias, need_weights=False,
    )  # fmt: skip
    expected, said = expected.transpose(0, 1), ours(x)
    torch.testing.assert_close(said, expected)
    direction = torch.randn(said.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = [x, *ours.parameters()]
    for mine, theirs in zip(
        torch.autograd.grad(said, parameters, direction), torch.autograd.grad(expected, parameters, direction),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
def test_dropout_keeps_its_share_and_neighbours_do_not_fall_together(p):
    drop = Dropout(p, torch.Generator().manual_seed(0))
    kept = drop(torch.ones(301, 333))
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1.0 / (1.0 - p)).item()}
    error = (p * (1 - p) / kept.numel()) ** 0.5  # of the share
    assert (kept == 0).float().mean().item() == pytest.approx(p, abs=4 * error + 2**-16)
    # Neighbours come out of one draw: they must not fall together.
    pairs = (kept[:, 1:] == 0) & (kept[:, :-1] == 0)
    assert pairs.float().mean().item() == pytest.approx(p * p, abs=8 * error)
