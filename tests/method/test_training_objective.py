"""The objective term by term, on a small network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from ddcl_tab.nn._network import Output, Reading
from ddcl_tab.nn._quantization import assign
from ddcl_tab.training._net import build_network
from ddcl_tab.training._objective import Exchange, Objective, contribution_loss, draw_columns, exchange
from ddcl_tab.training._rows import Batch

B, T, C, D, K = 7, 3, 3, 4, 5
OF_ROWS = [name for name in Output._fields if name != "reading"]


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    z, prototypes = normal(B, T, D).requires_grad_(), normal(K, D).requires_grad_()
    head, said = normal(D, C), normal(B, 2 + 3)
    assignment = assign(z, prototypes, 2.0)
    numeric = normal(B, 2)
    numeric[1, 0] = float("nan")
    inputs = {"numeric": numeric, "categorical": torch.arange(B)[:, None] % 3}
    summary = assignment.zhat.mean(dim=1)
    reading = Reading(summary, z, assignment)
    output = Output(summary @ head, z.mean(dim=1) @ head, reading, assignment.zhat @ head / T, z @ head / T, said)
    return z, prototypes, inputs, output, torch.eye(C, dtype=torch.float64)[torch.arange(B) % C]


def loss_of(parts, weight=None, exchanged=None, **weights):
    _, prototypes, inputs, output, target = parts
    standard = {"quantization_weight": 0.3, "column_weight": 0.2, "contribution_weight": 0.5, "cardinalities": [3]}
    objective = Objective(**(standard | weights))
    weight = torch.ones(B, dtype=torch.float64) if weight is None else weight
    held = assign(output.reading.z.detach(), prototypes, 2.0)
    return objective(output, Batch(inputs, target, weight), held, exchanged)


def test_terms_are_scikit_learns_and_add_up(parts):
    *_, output, target = parts
    loss = loss_of(parts)
    for term, logits in ((loss.task, output.logits), (loss.direct, output.direct_logits)):
        expected = log_loss(target.argmax(1), logits.detach().softmax(1), labels=range(C))
        assert term.item() == pytest.approx(expected)
    total = loss.task + loss.direct + 0.3 * loss.quantization + 0.2 * loss.columns
    assert loss.total.item() == pytest.approx(total.item())


def test_columns_are_squared_errors_and_entropies_of_present_values(parts):
    _, _, inputs, output, _ = parts
    said = output.columns.detach().numpy()
    errors = (said[:, :2] - inputs["numeric"].numpy()) ** 2
    logits = said[:, 2:] - np.log(np.exp(said[:, 2:]).sum(axis=1, keepdims=True))
    entropy = -logits[np.arange(B), inputs["categorical"][:, 0]].mean()
    assert loss_of(parts).columns.item() == pytest.approx(np.nanmean(errors) + entropy)


def test_quantisation_moves_prototypes_but_not_tokens(parts):
    z, prototypes, *_ = parts
    token, prototype = torch.autograd.grad(loss_of(parts).quantization, (z, prototypes), allow_unused=True)
    assert token is None
    assert prototype.abs().sum() > 0


def test_quantisation_is_the_mean_over_all_tokens_of_the_rows_by_weight(parts):
    z, prototypes, *_ = parts
    weight = torch.arange(1.0, B + 1.0, dtype=torch.float64)
    assignment = assign(z.detach().flatten(0, 1), prototypes, 2.0)
    each = (assignment.q * assignment.distances).sum(-1).detach().numpy()
    expected = np.average(each, weights=weight.repeat_interleave(T).numpy())
    assert loss_of(parts, weight).quantization.item() == pytest.approx(expected)


def test_weight_zero_is_no_row(parts):
    _, prototypes, inputs, output, target = parts
    weight = torch.ones(B, dtype=torch.float64)
    weight[0] = 0.0
    kept = loss_of(parts, weight)
    reading = Reading(*(part[1:] for part in output.reading[:2]), None)
    fewer = output._replace(reading=reading, **{name: getattr(output, name)[1:] for name in OF_ROWS})
    objective = Objective(quantization_weight=0.3, column_weight=0.2, contribution_weight=0.5, cardinalities=[3])
    others = Batch({name: part[1:] for name, part in inputs.items()}, target[1:], weight[1:])
    rest = objective(fewer, others, assign(reading.z.detach(), prototypes, 2.0))
    assert kept.task.item() == pytest.approx(rest.task.item() * (B - 1) / B)
    assert kept.quantization.item() == pytest.approx(rest.quantization.item())


# --- contributions --------------------------------------------------------------------------------------------------


def centred(x):
    return x - x.mean(-1, keepdims=True)


def test_contributions_are_held_to_what_exchanges_do(parts):
    *_, output, _ = parts
    rng = np.random.default_rng(0)
    weight = torch.tensor(rng.uniform(0.5, 2.0, B))
    other, taken = rng.integers(0, B, 5), rng.uniform(size=(5, T)) < 0.5
    effect = centred(rng.normal(size=(5, C)))
    exchanged = Exchange(*(torch.tensor(part) for part in (other, taken, effect)))
    own = centred(output.direct_contributions.detach().numpy())
    expected = 0.0
    for i in range(5):
        by_columns = sum((own[i, t] - own[other[i], t] for t in range(T) if taken[i, t]), np.zeros(C))
        expected += float(weight[i] / weight[:5].sum() * ((by_columns - effect[i]) ** 2).sum())
    with_it, without = loss_of(parts, weight, exchanged), loss_of(parts, weight)
    assert with_it.contributions.item() == pytest.approx(expected)
    assert with_it.total.item() == pytest.approx(without.total.item() + 0.5 * expected)
    assert without.contributions.item() == 0.0


def test_holding_contributions_moves_them_between_columns_and_not_their_sum(parts):
    *_, output, _ = parts
    rng = np.random.default_rng(0)
    drawn = torch.arange(B).roll(1), torch.tensor(rng.uniform(size=(B, T)) < 0.5)
    exchanged = Exchange(*drawn, torch.tensor(centred(rng.normal(size=(B, C)))))
    said = output.direct_contributions.detach().requires_grad_()
    contribution_loss(
        output._replace(direct_contributions=said), exchanged, torch.ones(B, dtype=torch.float64)
    ).backward()
    assert said.grad.abs().max() > 0.01
    torch.testing.assert_close(said.grad.sum(dim=1), torch.zeros(B, C, dtype=torch.float64))


def test_contributions_that_are_what_the_columns_do_cost_nothing(network, parts, monkeypatch):
    """A network whose tokens have not seen each other is additive, and so is its loss."""
    _, _, inputs, _, target = parts
    monkeypatch.setattr(network.encoder, "forward", lambda tokens: tokens)
    weight = torch.ones(B, dtype=torch.float64)
    output = network(**inputs)
    exchanged = exchange(network, Batch(inputs, target, weight), output, torch.Generator().manual_seed(0))
    assert exchanged.effect.abs().max() > 0.01
    assert float(contribution_loss(output, exchanged, weight).detach()) == pytest.approx(0.0, abs=1e-20)


@pytest.fixture
def network():
    sizes = {
        "edges": [(-1.0, 0.0, 1.0)] * 2,
        "cardinalities": [3],
        "n_classes": C,
        "n_blocks": 1,
        "n_heads": 1,
        "dropout": 0.0,
    }
    return build_network(0, torch.device("cpu"), n_prototypes=4, d_token=4, **sizes).double()


def test_sets_of_columns_come_as_shapley_values_want_them():
    n = 60_000
    drawn = draw_columns(n, 5, torch.Generator().manual_seed(0)).numpy()
    share = np.bincount(drawn.sum(axis=1), minlength=6) / n
    wanted = np.array([0, *(1 / (s * (5 - s)) for s in range(1, 5)), 0])
    np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.01)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.01)
    pair = drawn[drawn.sum(axis=1) == 2]  # ten pairs, all alike
    _, count = np.unique(pair, axis=0, return_counts=True)
    np.testing.assert_allclose(count / len(pair), 0.1, atol=0.01)


def test_the_best_contributions_are_shapley_values(network, parts):
    """Least squares over the exchanges of two rows, with contributions that sum to the logits."""
    _, _, inputs, _, target = parts
    two = {name: part[:2] for name, part in inputs.items()}
    batch = Batch(two, target[:2], torch.ones(2))
    output = network(**two)
    generator = torch.Generator().manual_seed(0)
    taken, effect = [], []
    for _ in range(3000):
        drawn = exchange(network, batch, output, generator)
        for i in range(2):
            if drawn.other[i] != i:  # the difference of row 0 from row 1 is that of row 1 from row 0, with other sign
                taken.append(drawn.taken[i].double().numpy())
                effect.append((1 - 2 * i) * drawn.effect[i].numpy())
    whole = centred((output.direct_logits[0] - output.direct_logits[1]).detach().numpy())
    # The last column is what the others leave of the whole.
    X = np.array(taken)
    y = np.array(effect) - X[:, [-1]] * whole
    first = np.linalg.lstsq(X[:, :-1] - X[:, [-1]], y, rcond=None)[0]
    fitted = np.concatenate([first, [whole - first.sum(axis=0)]])

    def logits(own: list[bool]) -> torch.Tensor:
        mask = torch.tensor([own])
        numeric = torch.where(mask[:, :2], two["numeric"][[0]], two["numeric"][[1]])
        categorical = torch.where(mask[:, 2:], two["categorical"][[0]], two["categorical"][[1]])
        with torch.no_grad():
            return centred(network(numeric, categorical).direct_logits[0].numpy())

    for t in range(T):
        value = np.zeros(C)
        for order in itertools.permutations(range(T)):
            before = [s in order[: order.index(t)] for s in range(T)]
            value += (logits([b or s == t for s, b in enumerate(before)]) - logits(before)) / 6
        np.testing.assert_allclose(fitted[t], value, atol=0.03 * np.abs(value).max() + 1e-3)


def test_an_exchange_moves_contributions_and_not_its_own_target(network, parts):
    _, _, inputs, _, target = parts
    output = network(**inputs)
    exchanged = exchange(network, Batch(inputs, target, torch.ones(B)), output, torch.Generator().manual_seed(0))
    assert not exchanged.effect.requires_grad
    torch.testing.assert_close(exchanged.effect.sum(dim=1), torch.zeros(B, dtype=torch.float64))
    contribution_loss(output, exchanged, torch.ones(B, dtype=torch.float64)).backward()
    assert network.tokenizer.bias.grad.abs().sum() > 0
    assert network.readout.prototypes.grad is None  # they follow the tokens
    assert network.head.bias.grad is None  # it adds to no column


def test_one_column_is_exchanged_with_nothing():
    sizes = {
        "edges": [(-1.0, 0.0, 1.0)],
        "cardinalities": [],
        "n_classes": C,
        "n_blocks": 1,
        "n_heads": 1,
        "dropout": 0.0,
    }
    network = build_network(0, torch.device("cpu"), n_prototypes=4, d_token=4, **sizes)
    inputs = {"numeric": torch.ones(B, 1), "categorical": torch.zeros(B, 0, dtype=torch.int64)}
    batch = Batch(inputs, torch.eye(C)[torch.arange(B) % C], torch.ones(B))
    assert exchange(network, batch, network(**inputs), torch.Generator()) is None
