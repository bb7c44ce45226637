"""The readouts of peers: the interface of our own, its invariances, half precision. All numbers are made up."""

from __future__ import annotations

import pytest
import torch
from peers.readouts import ClassTokenReadout, MeanReadout, PerceiverReadout, PMAReadout, SlotAttentionReadout

D = 8
HALVES = (torch.float16, torch.bfloat16)
READOUTS = {
    "class": ClassTokenReadout,
    "mean": MeanReadout,
    "pma": lambda: PMAReadout(D, n_heads=2),
    "slot": lambda: SlotAttentionReadout(D, n_slots=3),
    "perceiver": lambda: PerceiverReadout(D, n_latents=5),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tokens(b: int = 3, t: int = 5) -> torch.Tensor:
    return torch.randn(b, t, D, dtype=torch.float64)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", READOUTS)
def test_every_readout_in_half_precision_and_under_autocast(name, dtype):
    readout, x = READOUTS[name](), tokens().float()
    summary = readout(x).summary
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(readout(x).summary.float(), summary, rtol=0.0, atol=0.05)
    x = x.to(dtype).requires_grad_()
    halved = readout.to(dtype)(x).summary
    assert halved.dtype == dtype
    torch.testing.assert_close(halved.float(), summary, rtol=0.0, atol=0.1)
    halved.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, *readout.parameters()))


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize(("b", "t"), [(1, 1), (3, 1), (2, 6)])
def test_every_readout_gives_one_finite_vector_a_row(name, b, t):
    readout = READOUTS[name]().double()
    reading = readout(tokens(b, 1 + t))
    assert reading.summary.shape == reading.z.shape == (b, D)
    assert reading.summary.isfinite().all()
    assert reading.assignment is None
    assert reading.z.equal(reading.summary)


@pytest.mark.parametrize("name", READOUTS)
def test_rows_do_not_see_each_other(name):
    readout, x = READOUTS[name]().double(), tokens(4, 6)
    together = readout(x).summary
    for i in range(4):
        torch.testing.assert_close(readout(x[i : i + 1]).summary[0], together[i])


@pytest.mark.parametrize("name", READOUTS)
def test_the_order_of_columns_does_not_matter(name):
    readout, x = READOUTS[name]().double(), tokens(3, 7)
    permuted = x[:, [0, *(1 + torch.randperm(6)).tolist()]]
    torch.testing.assert_close(readout(permuted).summary, readout(x).summary)


@pytest.mark.parametrize("name", READOUTS)
def test_each_readout_reads_what_it_says(name):
    """Those of the class token ignore the columns, the others ignore the class token; none ignores both."""
    readout, x = READOUTS[name]().double(), tokens(2, 5)
    other_columns, other_class = x.clone(), x.clone()
    other_columns[:, 1:] = tokens(2, 4)
    other_class[:, 0] += 1.0
    ignores_columns = readout(other_columns).summary.equal(readout(x).summary)
    ignores_class = readout(other_class).summary.equal(readout(x).summary)
    assert (ignores_columns, ignores_class) == (readout.class_only, not readout.class_only)


@pytest.mark.parametrize("name", READOUTS)
def test_gradients_reach_every_parameter(name):
    readout, x = READOUTS[name]().double(), tokens().requires_grad_()
    (readout(x).summary * torch.randn(D, dtype=torch.float64)).sum().backward()
    assert x.grad.abs().sum() > 0
    for parameter in readout.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_a_slot_that_no_token_chooses_is_finite_in_float16():
    readout = SlotAttentionReadout(D, n_slots=3)
    with torch.no_grad():
        readout.query.weight *= 400.0  # one slot takes all tokens, the others' shares are below the smallest float16
    x = tokens(3, 1).float().expand(3, 6, D)
    summary = readout.half()(x.half()).summary
    torch.testing.assert_close(summary, readout.float()(x).summary.half(), rtol=0.0, atol=0.1)


def test_the_mean_readout_is_the_mean_of_the_columns():
    x = tokens(2, 4)
    torch.testing.assert_close(MeanReadout()(x).summary, (x[:, 1] + x[:, 2] + x[:, 3]) / 3)
