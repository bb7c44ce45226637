"""The falsification study in its short form: does the verdict see what becomes of the prototypes?"""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # its short form still takes most of a minute


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    # 24 trainings, about half a minute on two free cores.
    out = tmp_path_factory.mktemp("study")
    command = [sys.executable, ROOT / "pipelines" / "stability_study.py", "synthetic", out, "--short"]
    subprocess.run(command, check=True, capture_output=True)
    out /= "stability_study_short"
    return pl.read_csv(out / "data.csv"), out


def test_the_verdict_agrees_with_the_outcome(study):
    runs, _ = study
    agree = runs["stable"] == (runs["outcome"] == "healthy")
    assert len(runs) == 24
    assert agree.mean() >= 0.8  # the short runs end before they settle; the full study's figure is in its results
    assert set(runs["outcome"]) >= {"healthy", "collapsed", "overshooting"}


def test_each_violation_does_what_theory_says(study):
    runs, _ = study
    alone = runs.filter(dynamics="readout alone")
    hot = alone.filter((pl.col("temperature") == 2.0) & (pl.col("sharpness") < 1))
    assert set(hot["outcome"]) == {"collapsed"}
    assert set(hot["failed"]) == {"supercritical"}
    slow = runs.filter((pl.col("lr_ratio") == 0.01) & (pl.col("temperature") == 0.1))
    assert set(slow["outcome"]) == {"collapsed"}
    assert set(slow["failed"]) == {"tracking"}
    fast = alone.filter((pl.col("lr_ratio") == 1000.0) & (pl.col("optimizer") == "SGD"))
    assert set(fast["outcome"]) == {"overshooting"}
    assert set(fast["failed"]) == {"fast_step"}
    assert runs["identity"].filter(runs["sharpness"] < 1).max() < 1e-5


def test_the_report_shows_agreement_statements_and_every_disagreement(study):
    runs, out = study
    text = (out / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert "did not hold" in text
    differ = runs.filter(pl.col("stable") != (pl.col("outcome") == "healthy"))
    table = text.split("## Disagreements")[1].split("## Every cell")[0]
    assert table.count("\n| ") == 1 + len(differ)
    assert (out / "picture.png").stat().st_size > 10_000
    assert len(pl.read_csv(out / "data.csv")) == len(runs)
