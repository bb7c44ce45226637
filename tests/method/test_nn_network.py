"""Tokenizer, encoder and readout: shapes, invariances, generators. All numbers are invented."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.nn._network import ColumnTokenizer, DDCLReadout, Dropout, Encoder

D = 8


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def encoder(dropout: float = 0.0, n_blocks: int = 2) -> Encoder:
    generator = torch.Generator().manual_seed(1)
    return Encoder(d_token=D, n_blocks=n_blocks, n_heads=2, dropout=dropout, generator=generator).double()


def tokens(b: int = 3, t: int = 5) -> torch.Tensor:
    return torch.randn(b, t, D, dtype=torch.float64)


# Readout

HALVES = (torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_readout_in_half_precision_and_under_autocast(dtype):
    readout, x = DDCLReadout(4, D), tokens().float()
    summary = readout(x).summary
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(readout(x).summary.float(), summary, rtol=0.0, atol=0.05)
    x = x.to(dtype).requires_grad_()
    halved = readout.to(dtype)(x).summary
    assert halved.dtype == dtype
    torch.testing.assert_close(halved.float(), summary, rtol=0.0, atol=0.1)
    halved.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, *readout.parameters()))


@pytest.mark.parametrize("dtype", HALVES)
def test_prototypes_assign_in_float32_at_a_temperature_that_no_cast_rounds(dtype):
    readout, x = DDCLReadout(4, D), 3.0 + tokens().float()
    readout.temperature.fill_(1e-9)  # 0 in float16
    outside = readout(x)
    with torch.autocast("cpu", dtype=dtype):
        inside = readout(x)
    assert inside.summary.equal(outside.summary)
    assert inside.assignment.q.equal(outside.assignment.q)
    cast = readout.to(dtype)
    assert cast.temperature.equal(torch.tensor(1e-9))
    assert cast.prototypes.dtype == dtype
    reading = cast(x.to(dtype))
    assert reading.assignment.q.dtype == torch.float32
    assert reading.assignment.q.isfinite().all()
    torch.testing.assert_close(reading.assignment.q.sum(-1), torch.ones(3))


@pytest.mark.parametrize(("b", "t"), [(1, 1), (3, 1), (2, 6)])
def test_the_readout_gives_one_finite_vector_a_row(b, t):
    readout = DDCLReadout(4, D).double()
    reading = readout(tokens(b, 1 + t))
    assert reading.summary.shape == reading.z.shape == (b, D)
    assert reading.summary.isfinite().all()
    assert reading.assignment.q.shape == (b, 4)


def test_rows_do_not_see_each_other():
    readout, x = DDCLReadout(4, D).double(), tokens(4, 6)
    together = readout(x).summary
    for i in range(4):
        torch.testing.assert_close(readout(x[i : i + 1]).summary[0], together[i])


def test_the_order_of_columns_does_not_matter():
    readout, x = DDCLReadout(4, D).double(), tokens(3, 7)
    permuted = x[:, [0, *(1 + torch.randperm(6)).tolist()]]
    torch.testing.assert_close(readout(permuted).summary, readout(x).summary)


def test_the_readout_reads_the_class_token_alone():
    readout, x = DDCLReadout(4, D).double(), tokens(2, 5)
    other_columns, other_class = x.clone(), x.clone()
    other_columns[:, 1:] = tokens(2, 4)
    other_class[:, 0] += 1.0
    assert readout.class_only
    assert readout(other_columns).summary.equal(readout(x).summary)
    assert not readout(other_class).summary.equal(readout(x).summary)


def test_gradients_reach_every_parameter():
    readout, x = DDCLReadout(4, D).double(), tokens().requires_grad_()
    (readout(x).summary * torch.randn(D, dtype=torch.float64)).sum().backward()
    assert x.grad.abs().sum() > 0
    for parameter in readout.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@given(seed=st.integers(0, 1000), exponent=st.floats(-3, 3))
@settings(max_examples=50)
def test_the_summary_lies_in_the_hull_of_the_prototypes(seed, exponent):
    torch.manual_seed(seed)
    readout = DDCLReadout(5, D).double()
    readout.temperature.fill_(10.0**exponent)
    reading = readout(3 * tokens(6, 1))
    q = reading.assignment.q
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(-1), torch.ones(6, dtype=q.dtype))
    torch.testing.assert_close(reading.summary, q @ readout.prototypes)
    # In no direction does a mixture reach beyond the outermost prototype.
    direction = torch.randn(D, 20, dtype=torch.float64)
    reach, limits = reading.summary @ direction, readout.prototypes @ direction
    assert (reach <= limits.max(0).values + 1e-12).all()
    assert (reach >= limits.min(0).values - 1e-12).all()


def test_a_linear_head_decides_by_the_prototypes_alone():
    readout, head = DDCLReadout(5, D).double(), torch.nn.Linear(D, 3).double()
    reading = readout(tokens(6, 1))
    torch.testing.assert_close(head(reading.summary), reading.assignment.q @ head(readout.prototypes))


def test_the_temperature_is_kept_with_the_weights():
    readout, again = DDCLReadout(5, D), DDCLReadout(5, D)
    readout.temperature.fill_(0.25)
    again.load_state_dict(readout.state_dict())
    x = tokens(3, 1).float()
    assert again.temperature == 0.25
    assert again(x).summary.equal(readout(x).summary)


# Encoder


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_the_class_token_alone_is_that_of_the_full_pass(n_blocks):
    net, x = encoder(n_blocks=n_blocks), tokens()
    full, short = net(x), net(x, class_only=True)
    assert full.shape == (3, 6, D)
    assert short.shape == (3, 1, D)
    torch.testing.assert_close(short[:, 0], full[:, 0], rtol=1e-12, atol=1e-12)


def test_permuted_columns_leave_the_class_token_and_permute_the_rest():
    net, x = encoder(), tokens()
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(net(x[:, order])[:, 0], net(x)[:, 0])
    torch.testing.assert_close(net(x[:, order])[:, 1:], net(x)[:, 1:][:, order])


def test_the_class_token_has_seen_every_column():
    net, x = encoder(n_blocks=1), tokens(1).requires_grad_()
    (net(x, class_only=True)[0, 0] * torch.randn(D, dtype=torch.float64)).sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


# Dropout


def test_dropout_has_a_generator_of_its_own():
    before = torch.get_rng_state()
    net, x = encoder(dropout=0.3), torch.ones(3, 5, D, dtype=torch.float64)
    state = torch.get_rng_state()
    first = net(x)
    assert torch.get_rng_state().equal(state)
    assert not net(x).equal(first)  # a new mask at every pass
    net.blocks[0].dropout.generator.manual_seed(1)
    assert net(x).equal(first)
    assert not before.equal(state)  # initial weights do come from the global one


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    layer = Dropout(0.25, torch.Generator().manual_seed(2))
    x = torch.ones(100_000)
    dropped = layer(x)
    # Standard deviation of the share over 100,000 draws: sqrt(0.25 * 0.75 / 1e5) = 0.0014.
    assert float((dropped == 0).double().mean()) == pytest.approx(0.25, abs=0.007)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert layer.eval()(x) is x
    assert Dropout(0.0, torch.Generator()).train()(x) is x


def test_evaluation_draws_nothing():
    net = encoder(dropout=0.5).eval()
    state = net.blocks[0].dropout.generator.get_state()
    x = tokens()
    assert net(x).equal(net(x))
    assert net.blocks[0].dropout.generator.get_state().equal(state)


# Tokenizer


def test_every_column_becomes_a_token_numeric_ones_first():
    tokenizer = ColumnTokenizer(2, [3, 5], D)
    numeric, categorical = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.int64)
    before = tokenizer(numeric, categorical)
    assert before.shape == (4, 4, D)
    for i in range(2):
        changed = numeric.clone()
        changed[:, i] = 1.0
        assert (tokenizer(changed, categorical) != before).any(-1)[0].tolist() == [i == j for j in range(4)]
        code = categorical.clone()
        code[:, i] = 2
        assert (tokenizer(numeric, code) != before).any(-1)[0].tolist() == [2 + i == j for j in range(4)]


def test_missing_is_not_zero_and_gives_no_nan():
    tokenizer = ColumnTokenizer(2, [], D)
    none = torch.zeros(2, 0, dtype=torch.int64)
    numeric = torch.tensor([[float("nan"), 0.0], [0.0, 0.0]], requires_grad=True)
    token = tokenizer(numeric, none)
    assert token.isfinite().all()
    assert not token[0, 0].equal(token[1, 0])
    assert token[0, 1].equal(token[1, 1])
    token.square().sum().backward()
    assert numeric.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in tokenizer.parameters())
    assert tokenizer.missing.grad[0].abs().sum() > 0
    assert tokenizer.missing.grad[1].abs().sum() == 0


@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(0, [2]), (0, [2, 7, 3]), (1, []), (3, [])])
def test_one_kind_of_column_is_enough(n_numeric, cardinalities):
    tokenizer = ColumnTokenizer(n_numeric, cardinalities, D)
    categorical = torch.tensor([[c - 1 for c in cardinalities]] * 2, dtype=torch.int64).reshape(2, -1)
    token = tokenizer(torch.zeros(2, n_numeric), categorical)
    assert token.shape == (2, n_numeric + len(cardinalities), D)
    assert token.isfinite().all()


def test_categories_of_different_columns_share_nothing():
    tokenizer = ColumnTokenizer(0, [2, 3, 4], D)
    with torch.no_grad():
        tokenizer.bias.zero_()
    codes = [(a, b, c) for a in range(2) for b in range(3) for c in range(4)]
    token = tokenizer(torch.zeros(len(codes), 0), torch.tensor(codes))
    for i, cardinality in enumerate((2, 3, 4)):
        assert len(token[:, i].unique(dim=0)) == cardinality
    assert len(token.reshape(-1, D).unique(dim=0)) == 9
