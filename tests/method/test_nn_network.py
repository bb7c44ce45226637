"""Tokenizer, encoder and readout: shapes, invariances, generators. All numbers are invented."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.nn._network import FEW_TOKENS, ColumnTokenizer, DDCLReadout, Dropout, Encoder, Reading, TableNetwork

D = 8
#: Of the pieces of numeric columns.
EDGES = [(-1.0, 0.0, 1.0), (-2.0, -0.5, 0.5, 2.0), (0.0, 0.5, 1.0)]


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
    torch.testing.assert_close(reading.assignment.q.sum(-1), torch.ones(3, 5))


@pytest.mark.parametrize(("b", "t"), [(1, 1), (3, 1), (2, 6)])
def test_the_readout_gives_one_finite_vector_a_row(b, t):
    readout = DDCLReadout(4, D).double()
    x = tokens(b, t)
    reading = readout(x)
    assert reading.z is x
    assert reading.summary.shape == (b, D)
    assert reading.summary.isfinite().all()
    assert reading.assignment.q.shape == (b, t, 4)


def test_rows_do_not_see_each_other():
    readout, x = DDCLReadout(4, D).double(), tokens(4, 6)
    together = readout(x).summary
    for i in range(4):
        torch.testing.assert_close(readout(x[i : i + 1]).summary[0], together[i])


def test_the_order_of_columns_does_not_matter():
    readout, x = DDCLReadout(4, D).double(), tokens(3, 7)
    order = torch.randperm(7)
    permuted, reading = readout(x[:, order]), readout(x)
    torch.testing.assert_close(permuted.summary, reading.summary)
    torch.testing.assert_close(permuted.assignment.q, reading.assignment.q[:, order])


def test_the_readout_reads_every_token_and_each_by_itself():
    readout, x = DDCLReadout(4, D).double(), tokens(2, 5)
    reading = readout(x)
    torch.testing.assert_close(reading.summary, reading.assignment.zhat.mean(dim=1))
    for t in range(5):
        other = x.clone()
        other[:, t] += 1.0
        again = readout(other)
        assert not again.summary.isclose(reading.summary).all()
        same = (again.assignment.q == reading.assignment.q).flatten(0, 1).all(-1).view(2, 5)
        assert same.tolist() == [[i != t for i in range(5)]] * 2


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
    reading = readout(3 * tokens(6, 3))
    q = reading.assignment.q
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(-1), torch.ones(6, 3, dtype=q.dtype))
    torch.testing.assert_close(reading.summary, q.mean(dim=1) @ readout.prototypes)
    # In no direction does a mixture reach beyond the outermost prototype.
    direction = torch.randn(D, 20, dtype=torch.float64)
    reach, limits = reading.summary @ direction, readout.prototypes @ direction
    assert (reach <= limits.max(0).values + 1e-12).all()
    assert (reach >= limits.min(0).values - 1e-12).all()


def test_a_linear_head_decides_by_a_sum_over_columns_and_prototypes():
    readout, head = DDCLReadout(5, D).double(), torch.nn.Linear(D, 3).double()
    reading = readout(tokens(6, 4))
    pairs = reading.assignment.q.unsqueeze(-1) * head(readout.prototypes) / 4  # (B, T, K, C)
    torch.testing.assert_close(head(reading.summary), pairs.sum(dim=(1, 2)))


def test_the_temperature_is_kept_with_the_weights():
    readout, again = DDCLReadout(5, D), DDCLReadout(5, D)
    readout.temperature.fill_(0.25)
    again.load_state_dict(readout.state_dict())
    x = tokens(3, 1).float()
    assert again.temperature == 0.25
    assert again(x).summary.equal(readout(x).summary)


# Encoder


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_permuted_columns_permute_the_tokens(n_blocks):
    net, x = encoder(n_blocks=n_blocks), tokens()
    order = torch.tensor([3, 1, 4, 0, 2])
    assert net(x).shape == (3, 5, D)
    torch.testing.assert_close(net(x[:, order]), net(x)[:, order])


@pytest.mark.parametrize("n_columns", [5, FEW_TOKENS + 1])
def test_every_token_has_seen_every_column(n_columns):
    net, x = encoder(n_blocks=1), tokens(1, n_columns).requires_grad_()
    for t in (0, n_columns - 1):
        (gradient,) = torch.autograd.grad((net(x)[0, t] * torch.randn(D, dtype=torch.float64)).sum(), x)
        assert (gradient.abs().sum(-1) > 0).all()


# The whole network


def whole(n_numeric: int = 2, cardinalities: tuple[int, ...] = (3, 5)) -> TableNetwork:
    sizes = {"edges": EDGES[:n_numeric], "cardinalities": list(cardinalities), "n_classes": 3, "d_token": D}
    generator = torch.Generator().manual_seed(1)
    return TableNetwork(DDCLReadout(4, D), **sizes, n_blocks=1, n_heads=2, dropout=0.0, generator=generator).double()


def test_each_column_is_read_off_its_own_mixture_with_its_own_rows_of_the_decoder():
    net, zhat = whole(), tokens(3, 4)

    def columns_of(mixtures: torch.Tensor) -> torch.Tensor:
        return net.say(mixtures, Reading(mixtures.mean(dim=1), mixtures)).columns

    said = columns_of(zhat)
    assert said.shape == (3, 2 + 3 + 5)
    parts = [(0, 0, 1), (1, 1, 2), (2, 2, 5), (3, 5, 10)]  # token, first and last output
    for t, start, stop in parts:
        torch.testing.assert_close(said[:, start:stop], net.decoder(zhat[:, t])[:, start:stop])
        other = zhat.clone()
        other[:, t] += 1.0
        assert (columns_of(other) != said).any(0).nonzero().flatten().tolist() == list(range(start, stop))


@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(0, (2, 7)), (3, ())])
def test_a_network_of_one_kind_of_column(n_numeric, cardinalities):
    net = whole(n_numeric, cardinalities)
    categorical = torch.zeros(4, len(cardinalities), dtype=torch.int64)
    output = net(torch.full((4, n_numeric), float("nan"), dtype=torch.float64), categorical)
    assert output.columns.shape == (4, n_numeric + sum(cardinalities))
    assert all(part.isfinite().all() for part in (output.logits, output.direct_logits, output.columns))


def test_the_prototypes_decide_and_the_mean_token_beside_them():
    net = whole()
    numeric = torch.randn(6, 2, dtype=torch.float64)
    numeric[0, 1] = float("nan")
    output = net(numeric, torch.ones(6, 2, dtype=torch.int64))
    z, assignment = output.reading.z, output.reading.assignment
    torch.testing.assert_close(output.logits, net.head(assignment.zhat.mean(dim=1)))
    torch.testing.assert_close(output.direct_logits, net.head(z.mean(dim=1)))
    torch.testing.assert_close(output.logits, output.contributions.sum(dim=1) + net.head.bias)
    torch.testing.assert_close(output.direct_logits, output.direct_contributions.sum(dim=1) + net.head.bias)
    pairs = assignment.q.unsqueeze(-1) * (net.readout.prototypes @ net.head.weight.mT) / 4  # (B, T, K, C)
    torch.testing.assert_close(output.contributions, pairs.sum(dim=2))
    again = net.say(assignment.zhat, output.reading)
    assert all(part.equal(other) for part, other in zip(again[:2] + again[3:], output[:2] + output[3:], strict=True))
    assert z.shape == (6, 4, D)  # a missing value is a token like any other


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
    tokenizer = ColumnTokenizer(EDGES[:2], [3, 5], D)
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
    tokenizer = ColumnTokenizer(EDGES[:2], [], D)
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
    tokenizer = ColumnTokenizer(EDGES[:n_numeric], cardinalities, D)
    categorical = torch.tensor([[c - 1 for c in cardinalities]] * 2, dtype=torch.int64).reshape(2, -1)
    token = tokenizer(torch.zeros(2, n_numeric), categorical)
    assert token.shape == (2, n_numeric + len(cardinalities), D)
    assert token.isfinite().all()


def test_categories_of_different_columns_share_nothing():
    tokenizer = ColumnTokenizer([], [2, 3, 4], D)
    with torch.no_grad():
        tokenizer.bias.zero_()
    codes = [(a, b, c) for a in range(2) for b in range(3) for c in range(4)]
    token = tokenizer(torch.zeros(len(codes), 0), torch.tensor(codes))
    for i, cardinality in enumerate((2, 3, 4)):
        assert len(token[:, i].unique(dim=0)) == cardinality
    assert len(token.reshape(-1, D).unique(dim=0)) == 9
