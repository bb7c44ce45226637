"""The certificate in real fits, and its verdict."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, StabilityWarning, TrainingError
from ddcl_tab.interpret._labels import likely_label_errors, out_of_fold
from ddcl_tab.nn._quantization import critical_temperature
from ddcl_tab.training._certificate import (
    MUON_RMS,
    EpochCertificate,
    loss_of_prototypes,
    pull_of_task,
    relax,
    step_rule,
)
from ddcl_tab.training._net import MuonAdamW, build_network
from ddcl_tab.training._objective import Objective
from ddcl_tab.training._rows import Batch
from ddcl_tab.training._stability import CONDITIONS, STABLE, Stability

CPU = torch.device("cpu")
#: The smallest training of the arrays whose prototypes settle.
QUICK = {
    "n_prototypes": 6,
    "temperature": 0.02,
    "d_token": 16,
    "n_heads": 2,
    "n_blocks": 1,
    "max_epochs": 16,
    "lr": 5e-3,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def arrays():
    return make_classification(400, 5, n_informative=4, n_redundant=0, n_classes=3, class_sep=2.0, random_state=0)


@pytest.fixture(scope="module")
def fitted(arrays):
    return DDCLClassifier(**QUICK).fit(*arrays)


def sound(**changes) -> EpochCertificate:
    values = dict.fromkeys(EpochCertificate.__dataclass_fields__, 0.1) | {"epoch": 3, "dead_prototypes": 0}
    return replace(EpochCertificate(**values), identity_residual=1e-7, lr_ratio=10.0, **changes)


# --- verdict --------------------------------------------------------------------------------------------------------


def test_a_sound_run_is_stable():
    stability = Stability((sound(), sound()))
    assert stability.verdict == STABLE
    assert stability.is_stable
    assert set(stability.margins) == set(CONDITIONS)
    assert all(margin < 0 for margin in stability.margins.values())


@pytest.mark.parametrize(
    ("changes", "plain", "measured"),
    [
        (
            {"sharpness": 2.0},
            "prototypes jump past where they should settle: lower lr_ratio below 5",
            "the prototypes' step over the largest stable one is 2 in epoch 3 (must stay below 1)",
        ),
        (
            {"identity_residual": 1e-3},
            "tokens and prototypes have grown so large that rounding spoils the training: lower lr",
            "the identity L_q = L_rec + V is off by 0.001 in epoch 3 (must stay below 1e-05)",
        ),
        (
            {"tau_joint": 1.5},
            "it is too warm for prototypes to part: lower temperature",
            "the temperature over the critical one of the whole objective is 1.5 in epoch 3 (must stay below 1)",
        ),
        (
            {"lag": 0.9},
            "prototypes have not settled: train longer, or raise lr_ratio above 10 (max_epochs and patience say how "
            "long)",
            "the share of their way that prototypes still have to go is 0.9 in epoch 3 (must stay below 0.5)",
        ),
        (
            {"dead_share": 0.5, "dead_prototypes": 4},
            "too many prototypes have no rows of their own: lower n_prototypes by 4",
            "the share of dead prototypes is 0.5 in epoch 3 (must stay below 0.25)",
        ),
        (
            {"sharpness": float("nan")},
            "the certificate cannot be measured: lower lr_ratio",
            "the prototypes' step over the largest stable one is nan in epoch 3 (must stay below 1)",
        ),
    ],
)
def test_the_verdict_says_in_plain_words_what_is_wrong_and_what_to_change_then_what_was_measured(
    changes, plain, measured
):
    stability = Stability((replace(sound(), **changes),))
    assert not stability.is_stable
    assert stability.verdict == f"not stable: {plain}; {measured}"


def test_every_advice_names_parameters_of_the_classifier():
    known = set(DDCLClassifier().get_params())
    named = {name: set(re.findall(r"[a-z_]+", c.advice(sound()))) & known for name, c in CONDITIONS.items()}
    assert all(named.values()), named
    assert {"max_epochs", "lr_ratio"} <= named["tracking"]


# --- its line -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stability",
    [
        Stability((sound(), sound())),
        Stability((replace(sound(), lag=0.9),)),
        Stability((replace(sound(), sharpness=float("nan")),)),
        Stability((sound(),), interrupted=4),
        Stability(()),
    ],
)
def test_its_repr_is_one_line_with_verdict_and_margins(stability):
    shown = repr(stability)
    assert "\n" not in shown
    assert len(shown) < 500
    assert stability.verdict in shown
    read = eval(shown.replace("Stability", "dict"), {"nan": float("nan")})
    assert read["margins"] == pytest.approx(stability.margins, abs=1e-2, nan_ok=True)


def test_the_step_counts_in_every_epoch_and_temperature_at_the_end():
    early = replace(sound(), epoch=1, tau_joint=1.2, lag=0.9, dead_share=0.6)
    assert Stability((early, sound())).verdict == STABLE
    overshot = replace(sound(), epoch=2, sharpness=3.0)
    assert "in epoch 2" in Stability((early, overshot, sound())).verdict
    assert Stability((overshot, sound())).verdict == STABLE  # the first epoch: Adam has not settled


def test_prototypes_are_judged_as_they_stand_in_the_epoch_that_was_kept():
    epochs = tuple(replace(sound(), epoch=n, dead_share=share) for n, share in enumerate((0.0, 0.1, 0.5), start=1))
    assert Stability(epochs, kept=2).is_stable
    assert "is 0.5 in epoch 3" in Stability(epochs, kept=3).verdict
    assert "is 0.5 in epoch 3" in Stability(epochs[2:], kept=2).verdict  # certify="end": the last is all there is
    overshot = (*epochs[:2], replace(epochs[2], sharpness=3.0))
    assert "largest stable one is 3 in epoch 3" in Stability(overshot, kept=2).verdict


def test_the_fit_says_which_epoch_was_kept(fitted):
    assert fitted.stability_.kept == fitted.best_epoch_


def test_the_verdict_names_the_cause_and_not_what_follows_from_it():
    epoch = replace(sound(), sharpness=2.0, lag=1.9, dead_share=0.9)
    assert "lower lr_ratio below 5" in Stability((epoch,)).verdict
    assert [name for name, margin in Stability((epoch,)).margins.items() if margin > 0] == [
        "fast_step",
        "tracking",
        "alive",
    ]


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contribution_weight", [0.0, 1.0])
@pytest.mark.parametrize("relative", [0.98, 1.02])
def test_collapse_is_a_saddle_of_the_whole_objective_below_the_joint_critical_temperature(
    relative, contribution_weight
):
    network = build_network(
        0,
        CPU,
        n_prototypes=2,
        d_token=4,
        edges=[(-1.0, 0.0, 1.0)] * 3,
        cardinalities=[3],
        n_classes=2,
        n_blocks=1,
        n_heads=1,
        dropout=0.0,
    ).double()
    rng = torch.Generator().manual_seed(0)
    inputs = {
        "numeric": torch.randn(40, 3, generator=rng).double(),
        "categorical": torch.randint(0, 3, (40, 1), generator=rng),
    }
    target = torch.eye(2).double()[(inputs["numeric"][:, 0] > 0).long()]
    weight = 0.5 + torch.rand(40, generator=rng).double()
    batch = Batch(inputs, target, weight)
    network.readout.temperature = torch.tensor(1.0).double()
    objective = Objective(
        quantization_weight=0.03, column_weight=0.1, contribution_weight=contribution_weight, cardinalities=[3]
    )
    with torch.no_grad():
        output = network.eval()(**inputs)
    z = output.reading.z
    assert z.shape == (40, 4, 4)
    covariance = torch.cov(z.flatten(0, 1).T, correction=0, aweights=weight.repeat_interleave(4))
    critical = critical_temperature(covariance, pull_of_task(network, objective, output, batch))
    assert not torch.isclose(critical, critical_temperature(covariance), rtol=0.05)  # the task counts
    network.readout.temperature = relative * critical
    with torch.no_grad():  # where exchanging a column does nothing, and contributions are alike
        network.readout.prototypes.copy_(((weight / weight.sum()) @ z.mean(dim=1)).expand(2, 4))
        output = network(**inputs)
    loss = loss_of_prototypes(network, objective, output, batch)
    mean = (weight / weight.sum()) @ z.mean(dim=1)

    def parted(displacement: torch.Tensor) -> torch.Tensor:
        return loss(mean + torch.stack([displacement, -displacement]))

    curvature = torch.autograd.functional.hessian(parted, torch.zeros(4, dtype=torch.float64))
    assert (float(torch.linalg.eigvalsh(curvature)[0]) < 0) == (relative < 1)


# --- in real fits ---------------------------------------------------------------------------------------------------


def test_a_figure_that_is_no_number_never_hides_behind_a_sound_epoch():
    broken = replace(sound(), epoch=3, sharpness=float("nan"))
    for order in ((sound(), sound(), broken), (sound(), broken, sound())):
        assert "is nan in epoch 3" in Stability(order).verdict


@pytest.mark.parametrize("certify", ["epoch", "end", False])
def test_diverged_training_is_named_however_it_is_certified(arrays, certify):
    with pytest.raises(TrainingError, match="training diverged"):
        DDCLClassifier(**(QUICK | {"lr": 1e30}), certify=certify).fit(*arrays)


def test_every_epoch_is_certified(fitted):
    stability = fitted.stability_
    assert [e.epoch for e in stability.epochs] == list(range(1, fitted.n_iter_ + 1))
    assert stability.verdict == STABLE
    for epoch, row in zip(stability.epochs, fitted.history_, strict=True):
        assert epoch.identity_residual == row["identity_residual"] < 1e-5
        assert epoch.lr_ratio == pytest.approx(50.0)
        assert 0 < epoch.min_separation <= epoch.mean_separation
    taus = [e.tau for e in stability.epochs]
    assert taus[0] > taus[-1] > 0


def test_frames_in_both_libraries(fitted):
    for library, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        frame = fitted.stability_.to_frame(library)
        assert isinstance(frame, kind)
        assert list(frame.columns) == list(EpochCertificate.__dataclass_fields__)
        assert len(frame) == fitted.n_iter_


def test_certifying_does_not_change_the_model(arrays, fitted):
    X, y = arrays
    for certify, n_epochs in (("end", 1), (False, 0)):
        other = DDCLClassifier(**QUICK, certify=certify).fit(X, y)
        assert np.array_equal(other.predict_proba(X), fitted.predict_proba(X))
        assert len(other.stability_.epochs) == n_epochs
    assert other.stability_.verdict.startswith("not certified")


def test_the_last_certificate_is_the_same_at_the_end(arrays, fitted):
    end = DDCLClassifier(**QUICK, certify="end").fit(*arrays)
    assert end.stability_.epochs[0] == fitted.stability_.epochs[-1]


def test_an_overshooting_ratio_warns_once_with_the_verdict(arrays):
    with pytest.warns(StabilityWarning, match="lower lr_ratio below") as caught:
        clf = DDCLClassifier(**(QUICK | {"lr_ratio": 1e5, "batch_size": 64})).fit(*arrays)
    assert len(caught) == 1
    assert str(caught[0].message) == clf.stability_.verdict
    assert caught[0].filename == __file__
    assert clf.stability_.margins["fast_step"] > 0


def unsettled(**parameters):
    """A classifier whose prototypes hardly move in its two epochs."""
    quick = QUICK | {"max_epochs": 2, "lr_ratio": 1e-3, "augmented_share": 0.0}
    return DDCLClassifier(**(quick | parameters))


def stability_warnings(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if w.category is StabilityWarning]


@pytest.mark.parametrize(
    "call",
    [
        lambda clf, X, y: GridSearchCV(clf, {"lr_ratio": [1e-3, 1e4]}, cv=2).fit(X, y),
        lambda clf, X, y: cross_val_score(clf, X, y, cv=2),
        lambda clf, X, y: cross_val_predict(make_pipeline(StandardScaler(), clf), X, y, cv=2),
        lambda clf, X, y: BaggingClassifier(clf, n_estimators=2).fit(X, y),
        lambda clf, X, y: out_of_fold(clf, X, y, n_folds=2),
        lambda clf, X, y: likely_label_errors(clf, X, y),
    ],
    ids=["search with refit", "cross-validation", "pipeline in folds", "ensemble", "judges", "label errors"],
)
def test_a_call_that_fits_many_warns_once_at_its_own_line_and_so_does_the_next(arrays, call):
    X, y = arrays
    told = [stability_warnings(lambda: call(unsettled(), X[:150], y[:150])) for _ in range(2)]
    assert [len(one) for one in told] == [1, 1]
    assert {one[0].filename for one in told} == {__file__}


def test_fits_of_ones_own_loop_and_warnings_as_errors_are_each_told(arrays):
    X, y = arrays
    told = stability_warnings(lambda: [unsettled(random_state=i).fit(X[:150], y[:150]) for i in range(2)])
    assert len(told) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error", StabilityWarning)
        with pytest.raises(ValueError, match="All the 2 fits failed"):
            cross_val_score(unsettled(), X[:150], y[:150], cv=2)


def test_certificates_survive_saving(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = DDCLClassifier.load(tmp_path / "m").stability_
    assert loaded == fitted.stability_
    assert repr(loaded) == repr(fitted.stability_)


def test_certify_is_checked(arrays):
    with pytest.raises(ConfigurationError, match="certify must be 'epoch', 'end' or False, not 'always'"):
        DDCLClassifier(certify="always").fit(*arrays)


def test_relaxing_finds_the_minimum_next_door():
    target = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    found = relax(lambda p: ((p - target).square() * torch.tensor([1.0, 10.0])).sum(), torch.zeros(2, 2))
    torch.testing.assert_close(found, target, atol=1e-3, rtol=0)


def test_marked_matrices_step_by_muon_and_all_else_by_adamw():
    generator = torch.Generator().manual_seed(0)
    matrix, vector = (torch.nn.Parameter(torch.randn(size, generator=generator)) for size in ((8, 4), (4,)))
    twin, start = torch.nn.Parameter(vector.detach().clone()), matrix.detach().clone()
    groups = [{"params": [vector]}, {"params": [matrix], "orthogonal": True}]
    ours, adamw = MuonAdamW(groups, lr=0.1, weight_decay=0.0), torch.optim.AdamW([twin], lr=0.1, weight_decay=0.0)
    for parameter in (matrix, vector):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    twin.grad = vector.grad.clone()
    ours.step()
    adamw.step()
    assert torch.equal(vector, twin)
    assert len(ours.param_groups) == 2
    step = (start - matrix.detach()) / 0.1
    assert float(step.square().mean().sqrt()) == pytest.approx(MUON_RMS, rel=0.2)
    values = torch.linalg.svdvals(step)
    assert float(values.max() / values.min()) < 1.8  # of the gradient itself 2.2
    assert float((step * matrix.grad).sum()) > 0.0
    with pytest.raises(ConfigurationError, match="no stability limit is known for MuonAdamW with orthogonal"):
        step_rule(ours, matrix)
