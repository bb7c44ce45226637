"""The study of clusters runs in its short form and writes what it promises."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        yield importlib.import_module("cluster_study")


@pytest.mark.slow
def test_short_form(study, tmp_path):
    study.main(["nowhere", str(tmp_path), "--short"])
    rows = [json.loads(line) for line in (tmp_path / "cluster_short" / "data.jsonl").read_text().splitlines()]
    assert {row["problem"] for row in rows} == {"class", "cloud", "mixed columns", "inclination moved"}
    assert all(0 <= row["accuracy"] <= row["purity"] + 1e-9 <= 1.1 for row in rows if "accuracy" in row)
    assert all(0 <= row["auroc"] <= 1 for row in rows if "auroc" in row)
    text = (tmp_path / "cluster_short" / "report.md").read_text()
    assert "SHORT FORM" in text
    assert text.count("Ahead of DDCL") == 4
    assert "<svg" in (tmp_path / "cluster_short" / "picture.svg").read_text()


def test_scores_of_known_partitions(study):
    truth = np.array(["a"] * 6 + ["b"] * 4)
    same = study.scores(truth, np.array([1] * 6 + [0] * 4))
    assert (same["accuracy"], same["purity"], same["nmi"], same["ari"]) == (1, 1, pytest.approx(1), 1)
    split = study.scores(truth, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]))
    assert split["accuracy"] == pytest.approx(0.7)
    assert split["purity"] == 1
