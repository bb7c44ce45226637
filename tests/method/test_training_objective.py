"""The objective term by term, on a small network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from ddcl_tab.nn._network import Output, Reading
from ddcl_tab.nn._quantization import assign
from ddcl_tab.training._objective import Objective
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
    output = Output(summary @ head, z.mean(dim=1) @ head, Reading(summary, z, assignment), said)
    return z, prototypes, inputs, output, torch.eye(C, dtype=torch.float64)[torch.arange(B) % C]


def loss_of(parts, weight=None, **weights):
    _, prototypes, inputs, output, target = parts
    objective = Objective(**({"quantization_weight": 0.3, "column_weight": 0.2, "cardinalities": [3]} | weights))
    weight = torch.ones(B, dtype=torch.float64) if weight is None else weight
    return objective(output, Batch(inputs, target, weight), prototypes, torch.tensor(2.0))


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
    fewer = Output(output.logits[1:], output.direct_logits[1:], reading, output.columns[1:])
    objective = Objective(quantization_weight=0.3, column_weight=0.2, cardinalities=[3])
    others = Batch({name: part[1:] for name, part in inputs.items()}, target[1:], weight[1:])
    rest = objective(fewer, others, prototypes, torch.tensor(2.0))
    assert kept.task.item() == pytest.approx(rest.task.item() * (B - 1) / B)
    assert kept.quantization.item() == pytest.approx(rest.quantization.item())
