"""Forms of the readout: the token form is the product, the two levels follow the laws of one, the study runs."""

from __future__ import annotations

import warnings

import forms_study
import numpy as np
import pytest
import torch
from peers.forms import FORMS, ROWS, TOKENS, TWO_LEVELS, FormPeer, TwoLevelNetwork, TwoLevelObjective, TwoLevelReadout

from ddcl_tab import DDCLClassifier
from ddcl_tab.nn import assign, critical_temperature
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.space._join import launch_of
from ddcl_tab.training._objective import Objective
from ddcl_tab.training._rows import Batch

SMALL = {"max_epochs": 2, "d_token": 16, "n_heads": 2, "n_blocks": 1, "augmented_share": 0.0}
D = 16


@pytest.fixture(scope="module")
def rows(synthetic):
    frame = synthetic.sample(500, seed=1)
    features = frame.select("PERIOD", "INCLINATION", "PERIGEE", "RCS_SIZE", "COUNTRY")
    return features, frame["OBJECT_TYPE"].to_numpy(), launch_of(frame).to_numpy()


def test_the_token_form_is_the_product(rows):
    X, y, groups = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs need not be sound
        clf = DDCLClassifier(random_state=3, family=None, hidden_share=0.0, certify=False, **SMALL).fit(
            X, y, groups=groups
        )
    peer = FormPeer(TOKENS, 3, **SMALL).fit(X, y, groups)
    np.testing.assert_allclose(peer.predict_proba(X), clf.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("form", [ROWS, TWO_LEVELS])
def test_every_form_learns_and_repeats_itself(rows, form):
    X, y, groups = rows
    peers = [FormPeer(form, seed, **SMALL | {"max_epochs": 12}).fit(X, y, groups) for seed in (0, 0, 1)]
    probability = [peer.predict_proba(X) for peer in peers]
    np.testing.assert_array_equal(probability[0], probability[1])
    assert not np.array_equal(probability[0], probability[2])
    majority = max(np.mean(y == label) for label in peers[0].classes_)
    assert (peers[0].classes_[probability[0].argmax(axis=1)] == y).mean() > majority + 0.05


def test_prototypes_of_rows_decide_alone():
    network, inputs = two_levels()
    network.eval()
    output = network(**inputs)
    reading = output.reading
    assert reading.row.shape == reading.summary.shape == (40, D)
    q = torch.softmax(-torch.cdist(reading.row, reading.kinds).square() / reading.temperature, dim=1)
    torch.testing.assert_close(output.logits, q @ network.head(reading.kinds), rtol=1e-4, atol=1e-5)


def test_both_levels_have_the_same_relative_temperature():
    network, inputs = two_levels()
    network.train()
    readout = network.readout
    readout.temperature.fill_(0.3)
    reading = network(**inputs).reading
    with torch.no_grad():
        of_tokens, of_rows = (
            critical_temperature(torch.cov(part.flatten(0, -2).T, correction=0)) for part in (reading.z, reading.row)
        )
    torch.testing.assert_close(readout.kind_temperature / of_rows, 0.3 / of_tokens, rtol=1e-3, atol=1e-6)
    near = (reading.kinds - reading.row.mean(dim=0)).norm(dim=1).mean()
    assert 0.0 < near < 0.5 * (reading.row - reading.row.mean(dim=0)).norm(dim=1).mean()  # nearly collapsed at first


def test_the_second_level_adds_its_quantisation_loss_and_pulls_no_tokens():
    network, inputs = two_levels()
    batch = Batch(inputs, torch.eye(3)[torch.arange(40) % 3], torch.ones(40))
    output, readout = network.train()(**inputs), network.readout
    held = assign(output.reading.z.detach(), readout.prototypes, readout.temperature)
    losses = [
        kind(quantization_weight=0.1, column_weight=0.0, contribution_weight=0.0, cardinalities=[])(
            output, batch, held
        ).total
        for kind in (TwoLevelObjective, Objective)
    ]
    added = losses[0] - losses[1]
    assert added > 0
    parameters = dict(network.named_parameters())
    moved = torch.autograd.grad(added, list(parameters.values()), allow_unused=True)
    touched = {name for name, g in zip(parameters, moved, strict=True) if g is not None and g.abs().sum() > 1e-9}
    assert touched == {"readout.held_kinds"}


def two_levels() -> tuple[TableNetwork, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = TwoLevelNetwork(
        TwoLevelReadout(6, 4, D), edges=[(-1.0, 0.0, 1.0)] * 3, cardinalities=[], n_classes=3, d_token=D,
        n_blocks=1, n_heads=2, dropout=0.0, generator=torch.Generator(),
    )  # fmt: skip
    return network, {"numeric": torch.randn(40, 3), "categorical": torch.zeros(40, 0, dtype=torch.int64)}


def test_the_study_runs_and_a_second_call_computes_nothing(tmp_path, capsys):
    forms_study.main(["nowhere", str(tmp_path), "--short"])
    folder = tmp_path / "forms_short"
    lines = (folder / "data.jsonl").read_text()
    assert len(lines.splitlines()) == 2 * len(FORMS)
    text = (folder / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert all(f"| {form}" in text for form in FORMS)
    capsys.readouterr()
    forms_study.main(["nowhere", str(tmp_path), "--short"])
    assert capsys.readouterr().out == ""
    assert (folder / "data.jsonl").read_text() == lines
    assert (folder / "report.md").read_text() == text
