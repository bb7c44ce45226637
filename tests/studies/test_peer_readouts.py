"""The readouts of peers: the interface of our own, its invariances, half precision. All numbers are made up."""

from __future__ import annotations

import pytest
import torch
from peers.class_token import ClassTokenEncoder, RowNetwork
from peers.readouts import MeanReadout, PerceiverReadout, PMAReadout, SlotAttentionReadout

from ddcl_tab.nn import DDCLReadout

D = 8
HALVES = (torch.float16, torch.bfloat16)
READOUTS = {
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
    reading = readout(tokens(b, t))
    assert reading.summary.shape == (b, D)
    assert reading.summary.isfinite().all()
    assert reading.assignment is None
    assert reading.z.equal(reading.summary.unsqueeze(1))


@pytest.mark.parametrize("name", READOUTS)
def test_rows_do_not_see_each_other(name):
    readout, x = READOUTS[name]().double(), tokens(4, 6)
    together = readout(x).summary
    for i in range(4):
        torch.testing.assert_close(readout(x[i : i + 1]).summary[0], together[i])


@pytest.mark.parametrize("name", READOUTS)
def test_the_order_of_columns_does_not_matter(name):
    readout, x = READOUTS[name]().double(), tokens(3, 7)
    permuted = x[:, torch.randperm(7)]
    torch.testing.assert_close(readout(permuted).summary, readout(x).summary)


@pytest.mark.parametrize("name", READOUTS)
def test_every_column_is_read(name):
    readout, x = READOUTS[name]().double(), tokens(2, 5)
    for i in range(5):
        other = x.clone()
        other[:, i] = tokens(2, 1)[:, 0]
        assert not readout(other).summary.equal(readout(x).summary)


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
    torch.testing.assert_close(MeanReadout()(x).summary, x.sum(dim=1) / 4)


@pytest.mark.parametrize("t", [5, 30])
def test_the_class_token_is_that_of_a_whole_pass_over_all_tokens(t):
    """The last block computes one token alone; few and many tokens go through attention of different kinds."""
    encoder = class_encoder().double()
    x = tokens(3, t)
    whole = torch.cat([encoder.class_token.expand(3, 1, -1), x], dim=1)
    for block in encoder.blocks:
        whole = block(whole)
    torch.testing.assert_close(encoder(x), encoder.norm(whole)[:, :1])


def test_the_class_token_sees_every_column_and_trains_every_weight():
    encoder, x = class_encoder(), tokens(2, 4).float().requires_grad_()
    (encoder(x) * torch.randn(D)).sum().backward()
    assert (x.grad.abs().sum(dim=-1) > 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in (encoder.class_token, encoder.norm.weight))


def test_prototypes_of_a_row_say_all_of_its_columns():
    network = RowNetwork(
        DDCLReadout(3, D), edges=[(-1.0, 0.0, 1.0)] * 2, cardinalities=[4, 3], n_classes=3, d_token=D,
        n_blocks=2, n_heads=2, dropout=0.0, generator=torch.Generator(),
    )  # fmt: skip
    output = network(torch.randn(5, 2), torch.ones(5, 2, dtype=torch.int64))
    assert output.reading.z.shape == (5, 1, D)
    assert output.reading.assignment.q.shape == (5, 1, 3)
    torch.testing.assert_close(output.columns, network.decoder(output.reading.summary))


def class_encoder() -> ClassTokenEncoder:
    return ClassTokenEncoder(d_token=D, n_blocks=2, n_heads=2, dropout=0.0, generator=torch.Generator())
