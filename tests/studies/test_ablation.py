"""The ablation: each part is out while its fit runs and back afterwards; lines become a table."""

from __future__ import annotations

import json

import ablation as study
import numpy as np
import pytest
from benchmark_catalog import load
from peers.tasks import make_fold


@pytest.fixture(scope="module")
def fold():
    """Enough rows for a teacher, few columns."""
    fold = make_fold(load(None, True), "object", study.FOLD)
    few = ["PERIOD", "PERIGEE", "INCLINATION", "COUNTRY", "RCS_SIZE"]
    twice = [*range(len(fold.y_train)), *range(200)]  # the short catalog alone is too small to distil
    return fold._replace(
        X_train=fold.X_train[twice].select(few).with_columns(PERIOD=np.linspace(90, 100, len(twice))),
        y_train=fold.y_train[twice],
        groups=fold.groups[twice],
        X_test=fold.X_test.select(few),
    )


def test_every_part_changes_the_fit_and_all_is_back_afterwards(fold):
    figures, brief = {}, {"max_epochs": 1, "certify": False, "d_token": 16, "n_heads": 2, "n_blocks": 1}
    before = [getattr(module, name) for *_, changes in study.PARTS.values() for module, name, _ in changes]
    for part in study.PARTS:
        with study.without(part) as (_, settings):
            figures[part] = study.measure(fold, 0, settings | brief)["as they are"]["log_loss"]
    assert before == [getattr(module, name) for *_, changes in study.PARTS.values() for module, name, _ in changes]
    del figures["without family columns"]  # another task, the same settings
    assert len(set(figures.values())) == len(figures)


def test_lines_become_a_table_with_one_row_a_part(tmp_path):
    scores = {"macro_f1": 0.9, "log_loss": 0.1, "ece": 0.01}
    for epochs in (2, 15):
        lines = [
            {"part": part, "seed": seed, "epochs": epochs, "short": False, "seconds": 60.0}
            | {"as they are": scores | {"macro_f1": 0.9 + 0.01 * seed}, "hidden": scores}
            for part in study.PARTS
            for seed in (0, 1)
        ]
        with (tmp_path / "data.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    study.report(tmp_path / "data.jsonl", tmp_path, "python it")
    text = (tmp_path / "report.md").read_text()
    assert "SYNTHETIC" not in text
    for part in study.PARTS:
        assert text.count(f"| {part} ") == 2
    assert "0.905 ± 0.007" in text


@pytest.mark.slow  # ten fits
def test_the_short_form_runs(tmp_path):
    study.main(["nowhere", str(tmp_path), "--short"])
    assert "SYNTHETIC" in (tmp_path / "ablation_short" / "report.md").read_text()
