"""The certificate in real fits, and its verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import make_classification

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, StabilityWarning, TrainingError
from ddcl_tab.nn.quantization import critical_temperature
from ddcl_tab.training.build import build_network
from ddcl_tab.training.certificate import EpochCertificate, loss_of_prototypes, pull_of_task, relax
from ddcl_tab.training.objective import Objective
from ddcl_tab.training.stability import CONDITIONS, STABLE, Stability

CPU = torch.device("cpu")
QUICK = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 8, "lr": 5e-3, "random_state": 0}


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
    ("changes", "said"),
    [
        ({"sharpness": 2.0}, "step over the largest stable one is 2 in epoch 3 .* lower lr_ratio below 5"),
        ({"tau_joint": 1.5}, "the temperature over the critical one .* is 1.5 in epoch 3 .* lower temperature"),
        ({"lag": 0.9}, "still have to go is 0.9 in epoch 3 .* raise lr_ratio above 10"),
        ({"dead_share": 0.5, "dead_prototypes": 4}, "dead prototypes is 0.5 in epoch 3 .* lower n_prototypes by 4"),
        ({"identity_residual": 1e-3}, "the identity .* is off by 0.001 in epoch 3"),
        ({"sharpness": float("nan")}, "step over the largest stable one is nan"),
    ],
)
def test_the_verdict_says_what_failed_when_by_how_much_and_what_to_change(changes, said):
    epoch = replace(sound(), **changes)
    stability = Stability((epoch,))
    assert not stability.is_stable
    import re

    assert re.search(f"^not stable: .*{said}", stability.verdict)


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


@pytest.mark.parametrize("relative", [0.98, 1.02])
def test_collapse_is_a_saddle_of_the_whole_objective_below_the_joint_critical_temperature(relative):
    network = build_network(
        0,
        CPU,
        n_prototypes=2,
        d_token=4,
        n_numeric=3,
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
    network.readout.temperature = torch.tensor(1.0).double()
    objective = Objective(quantization_weight=0.3, column_weight=0.1, cardinalities=[3])
    with torch.no_grad():
        output = network.eval()(**inputs)
    z = output.reading.z
    covariance = torch.cov(z.T, correction=0, aweights=weight)
    critical = critical_temperature(covariance, pull_of_task(network, objective, output, (inputs, (target, weight))))
    assert not torch.isclose(critical, critical_temperature(covariance), rtol=0.05)  # the task counts
    network.readout.temperature = relative * critical
    loss = loss_of_prototypes(network, objective, output, inputs, target, weight)
    mean = (weight / weight.sum()) @ z

    def parted(displacement: torch.Tensor) -> torch.Tensor:
        return loss(mean + torch.stack([displacement, -displacement]))

    curvature = torch.autograd.functional.hessian(parted, torch.zeros(4, dtype=torch.float64))
    assert (float(torch.linalg.eigvalsh(curvature)[0]) < 0) == (relative < 1)


# --- in real fits ---------------------------------------------------------------------------------------------------


def test_a_figure_that_is_no_number_never_hides_behind_a_sound_epoch():
    broken = replace(sound(), epoch=3, sharpness=float("nan"))
    for order in ((sound(), sound(), broken), (sound(), broken, sound())):
        assert Stability(order).verdict.endswith("(must stay below 1); lower lr_ratio")


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
        assert epoch.lr_ratio == pytest.approx(10.0)
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
        clf = DDCLClassifier(**(QUICK | {"lr_ratio": 10_000.0})).fit(*arrays)
    assert len(caught) == 1
    assert str(caught[0].message) == clf.stability_.verdict
    assert clf.stability_.margins["fast_step"] > 0


def test_certificates_survive_saving(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    assert DDCLClassifier.load(tmp_path / "m").stability_ == fitted.stability_


def test_certify_is_checked(arrays):
    with pytest.raises(ConfigurationError, match="certify must be 'epoch', 'end' or False, not 'always'"):
        DDCLClassifier(certify="always").fit(*arrays)


def test_relaxing_finds_the_minimum_next_door():
    target = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    found = relax(lambda p: ((p - target).square() * torch.tensor([1.0, 10.0])).sum(), torch.zeros(2, 2))
    torch.testing.assert_close(found, target, atol=1e-3, rtol=0)
