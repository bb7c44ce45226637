"""Scores against scikit-learn and examples worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, classification_report, f1_score, log_loss

from ddcl_tab.app._evaluation import N_BINS, score

CLASSES = np.array(["DEBRIS", "PAYLOAD", "ROCKET BODY"])


def random_rows(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.choice(CLASSES, n, p=[0.5, 0.4, 0.1]), rng.dirichlet([0.7, 0.5, 0.3], n)


def calibration_error(correct: list[bool], confidence: list[float]) -> float:
    """The calibration error of rows that give one of 40 classes a confidence and share out the rest."""
    probability = np.repeat((1.0 - np.array(confidence))[:, None] / 39, 40, axis=1)
    probability[:, 0] = confidence
    return score(np.where(correct, 0, 1), probability, np.arange(40))["ece"]


def test_scores_are_those_of_scikit_learn():
    y, probability = random_rows()
    scores = score(y, probability, CLASSES)
    predicted = CLASSES[probability.argmax(1)]
    assert scores["accuracy"] == accuracy_score(y, predicted)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert scores["log_loss"] == pytest.approx(log_loss(y, probability, labels=CLASSES))
    report = classification_report(y, predicted, output_dict=True)
    for name in CLASSES:
        expected = report[name] | {"f1": report[name]["f1-score"]}
        for key, value in scores["per_class"][name].items():
            assert value == pytest.approx(expected[key])


def test_classes_in_any_order_score_the_same():
    y, probability = random_rows()
    order = [2, 0, 1]
    assert score(y, probability[:, order], CLASSES[order]) == score(y, probability, CLASSES)


@pytest.mark.parametrize("classes", [np.array([3, 7, 9]), np.array(CLASSES, dtype=object), np.array([False, True])])
def test_any_kind_of_label_is_scored_and_goes_to_json(classes):
    y = np.repeat(classes, 4)
    probability = np.full((len(y), len(classes)), 0.1 / (len(classes) - 1))
    probability[np.arange(len(y)), np.repeat(np.arange(len(classes)), 4)] = 0.9
    scores = json.loads(json.dumps(score(y, probability, classes)))
    assert scores["accuracy"] == scores["macro_f1"] == scores["balanced_accuracy"] == 1.0
    assert scores["log_loss"] == pytest.approx(-np.log(0.9))
    assert scores["ece"] == pytest.approx(0.1)
    assert list(scores["per_class"]) == [str(c) for c in classes]


def test_single_precision_probabilities_score_the_same():
    y, probability = random_rows()
    single, double = (score(y, probability.astype(kind), CLASSES) for kind in (np.float32, np.float64))
    assert single["log_loss"] == pytest.approx(double["log_loss"], rel=1e-5)
    assert single["accuracy"] == double["accuracy"]


def test_the_calibration_error_of_a_worked_example():
    # Bins are 1/15 wide. 0.41 and 0.46 share [6/15, 7/15): one right of two, gap |1 - 0.87| = 0.13; 0.47 is alone in
    # [7/15, 8/15): wrong, gap 0.47; 0.95 twice in [14/15, 1]: both right, gap 2 - 1.9 = 0.10. Sum 0.70 over 5 rows.
    confidence = [0.41, 0.46, 0.47, 0.95, 0.95]
    assert calibration_error([True, False, False, True, True], confidence) == pytest.approx(0.70 / 5)


def test_certain_and_right_is_calibrated_certain_and_wrong_is_not():
    assert calibration_error([True] * 3, [1.0] * 3) == 0.0
    assert calibration_error([False] * 3, [1.0] * 3) == 1.0
    # Three of four right at 0.75: calibrated, though no single row is.
    assert calibration_error([True, True, True, False], [0.75] * 4) == pytest.approx(0)


def test_errors_in_different_bins_do_not_cancel():
    low, high = 0.5 / N_BINS, 1 - 0.5 / N_BINS
    assert calibration_error([True, False], [low, high]) == pytest.approx(high)


def test_a_class_unseen_in_training_counts_as_wrong_with_probability_zero():
    y = np.array(["DEBRIS", "PAYLOAD", "TBA", "TBA"])
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    scores = score(y, probability, np.array(["DEBRIS", "PAYLOAD"]))
    assert scores["accuracy"] == 0.5
    assert scores["balanced_accuracy"] == pytest.approx(2 / 3)
    assert scores["per_class"]["TBA"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    # DEBRIS: precision 1/3, recall 1, F1 1/2; PAYLOAD: 1; TBA: 0.
    assert scores["macro_f1"] == pytest.approx((0.5 + 1 + 0) / 3)
    expected = -(np.log(0.9) + np.log(0.8) + 2 * np.log(1e-15)) / 4
    assert scores["log_loss"] == pytest.approx(expected, rel=1e-6)


def test_a_class_absent_from_the_test_part_does_not_lower_the_means():
    y = np.array(["DEBRIS", "PAYLOAD"])
    probability = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    scores = score(y, probability, CLASSES)
    assert scores["macro_f1"] == scores["balanced_accuracy"] == 1.0
    assert scores["per_class"]["ROCKET BODY"]["support"] == 0


def test_a_zero_probability_costs_much_but_not_infinity():
    scores = score(np.array(["DEBRIS"]), np.array([[0.0, 1.0, 0.0]]), CLASSES)
    assert scores["log_loss"] == pytest.approx(-np.log(1e-15), rel=1e-6)
