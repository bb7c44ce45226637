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
from ddcl_tab.training._objective import Exchange, Objective, contribution_loss, exchange
from ddcl_tab.training._rows import Batch

B, T, C, D, K = 7, 3, 3, 4, 5


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
    parts = assignment.zhat @ head / T
    output = Output(summary @ head, z.mean(dim=1) @ head, Reading(summary, z, assignment), parts, said)
    return z, prototypes, inputs, output, torch.eye(C, dtype=torch.float64)[torch.arange(B) % C]


def loss_of(parts, weight=None, exchanged=None, **weights):
    _, prototypes, inputs, output, target = parts
    standard = {"quantization_weight": 0.3, "column_weight": 0.2, "contribution_weight": 0.5, "cardinalities": [3]}
    objective = Objective(**(standard | weights))
    weight = torch.ones(B, dtype=torch.float64) if weight is None else weight
    return objective(output, Batch(inputs, target, weight), prototypes, torch.tensor(2.0), exchanged)


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
    fewer = Output(output.logits[1:], output.direct_logits[1:], reading, output.contributions[1:], output.columns[1:])
    objective = Objective(quantization_weight=0.3, column_weight=0.2, contribution_weight=0.5, cardinalities=[3])
    others = Batch({name: part[1:] for name, part in inputs.items()}, target[1:], weight[1:])
    rest = objective(fewer, others, prototypes, torch.tensor(2.0))
    assert kept.task.item() == pytest.approx(rest.task.item() * (B - 1) / B)
    assert kept.quantization.item() == pytest.approx(rest.quantization.item())


# --- contributions --------------------------------------------------------------------------------------------------


def test_contributions_are_held_to_what_exchanges_do(parts):
    *_, output, _ = parts
    rng = np.random.default_rng(0)
    weight = torch.tensor(rng.uniform(0.5, 2.0, B))
    exchanged = Exchange(torch.tensor(rng.integers(0, T, 5)), torch.tensor(rng.normal(size=(5, C))))
    own = output.contributions.detach().numpy()
    own = own - own.mean(axis=2, keepdims=True)
    own = own - np.average(own, axis=0, weights=weight)
    error = (own[np.arange(5), exchanged.column] - exchanged.effect.numpy()) ** 2
    expected = np.average(error.sum(axis=1), weights=weight[:5])
    with_it, without = loss_of(parts, weight, exchanged), loss_of(parts, weight)
    assert with_it.contributions.item() == pytest.approx(expected)
    assert with_it.total.item() == pytest.approx(without.total.item() + 0.5 * expected)
    assert without.contributions.item() == 0.0


def test_contributions_that_are_what_the_columns_do_cost_nothing(parts):
    *_, output, _ = parts
    weight = torch.ones(B, dtype=torch.float64)
    centred = output.contributions - output.contributions.mean(dim=2, keepdim=True)
    centred = (centred - centred.mean(dim=0)).detach()
    column = torch.arange(B) % T
    exchanged = Exchange(column, centred[torch.arange(B), column])
    assert float(contribution_loss(output.contributions, exchanged, weight).detach()) == pytest.approx(0.0, abs=1e-20)


@pytest.fixture
def network():
    sizes = {"n_numeric": 2, "cardinalities": [3], "n_classes": C, "n_blocks": 1, "n_heads": 1, "dropout": 0.0}
    return build_network(0, torch.device("cpu"), n_prototypes=4, d_token=4, **sizes).double()


def test_the_mean_effect_of_exchanges_is_the_shapley_value(network, parts):
    """Of two rows by all orders, the value of a column taken from either row."""
    _, _, inputs, _, target = parts
    two = {name: part[:2] for name, part in inputs.items()}
    batch = Batch(two, target[:2], torch.ones(2))
    total, count = torch.zeros(2, T, C, dtype=torch.float64), torch.zeros(2, T)
    generator = torch.Generator().manual_seed(0)
    for _ in range(6000):
        column, effect = exchange(network, batch, generator)
        for i in range(2):
            total[i, column[i]] += effect[i]
            count[i, column[i]] += 1
    measured = total / count.unsqueeze(-1)

    def logits(keep: list[bool], row: int, other: int) -> torch.Tensor:
        mask = torch.tensor([keep])
        numeric = torch.where(mask[:, :2], two["numeric"][[row]], two["numeric"][[other]])
        categorical = torch.where(mask[:, 2:], two["categorical"][[row]], two["categorical"][[other]])
        with torch.no_grad():
            said = network(numeric, categorical).logits[0]
        return said - said.mean()

    for row in range(2):
        for t in range(T):
            value = torch.zeros(C, dtype=torch.float64)
            for order in itertools.permutations(range(T)):
                before = [s in order[: order.index(t)] for s in range(T)]
                after = [b or s == t for s, b in enumerate(before)]
                value += (logits(after, row, 1 - row) - logits(before, row, 1 - row)) / 6
            # The other row is the row itself half of the time, and then nothing happens.
            torch.testing.assert_close(measured[row, t], value / 2, rtol=0, atol=0.1 * float(value.abs().max()) + 1e-3)


def test_an_exchange_moves_contributions_and_not_its_own_target(network, parts):
    _, _, inputs, _, target = parts
    exchanged = exchange(network, Batch(inputs, target, torch.ones(B)), torch.Generator().manual_seed(0))
    assert not exchanged.effect.requires_grad
    torch.testing.assert_close(exchanged.effect.sum(dim=1), torch.zeros(B, dtype=torch.float64))
    output = network(**inputs)
    contribution_loss(output.contributions, exchanged, torch.ones(B, dtype=torch.float64)).backward()
    assert network.readout.prototypes.grad.abs().sum() > 0
    assert network.tokenizer.bias.grad.abs().sum() > 0
    assert network.head.bias.grad is None  # it adds to no column
