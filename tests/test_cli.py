"""The commands as a user types them."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import time

import polars as pl
import pytest
from click.testing import CliRunner

from ddcl_tab.cli import main
from ddcl_tab.errors import CatalogWarning
from tests.conftest import SYNTHETIC

QUICK = "n_prototypes = 6\nd_token = 16\nn_heads = 2\nn_blocks = 1\nmax_epochs = 4\nlr = 0.005\n"
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def run(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def fails(result) -> str:
    """The one line a user sees; no traceback, exit code 2."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    (folder / "quick.toml").write_text(QUICK)
    result = run("train", SYNTHETIC, "--config", folder / "quick.toml", "--seed", 3, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run", result.stdout


def test_help_and_import_stay_fast_and_without_torch():
    code = "import ddcl_tab, ddcl_tab.cli, sys; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    # The fastest of several counts: other work on the machine only ever adds to it.
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ddcl_tab.cli", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_synth_makes_the_catalog_of_data(tmp_path):
    result = run("synth", "--rows", 5000, "--seed", 0, "--out", tmp_path / "synthetic_satcat.csv.gz")
    assert result.exit_code == 0
    # Unpacked, since another build of zlib may pack the same bytes differently.
    made, kept = (gzip.decompress(path.read_bytes()) for path in (tmp_path / "synthetic_satcat.csv.gz", SYNTHETIC))
    assert made == kept


def test_train_writes_model_metrics_and_prototypes(trained):
    folder, _ = trained
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (folder / "model.ddcl").is_file()
    for scores in (metrics, *metrics["peers"].values()):
        assert all(scores[name] >= 0 for name in SCORES)
        assert set(scores["per_class"]) == {"DEBRIS", "PAYLOAD", "ROCKET BODY"}
    assert set(metrics["peers"]) == {"majority class", "logistic regression", "HistGradientBoosting"}
    assert metrics["n_train"] + metrics["n_test"] + metrics["n_left_out"] == 5000
    assert "by launch" in metrics["split"]
    assert metrics["synthetic"] is True
    assert metrics["fit_seconds"] > 0
    assert metrics["identity_residual_max"] < 1e-5
    with (folder / "held_out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == metrics["n_test"]
    with (folder / "prototypes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1.0)


def test_train_prints_the_tables_and_says_synthetic(trained):
    _, printed = trained
    assert "SYNTHETIC" in printed.splitlines()[1]
    assert "model.ddcl, metrics.json, prototypes.csv, held_out.csv" in printed
    for text in ("HistGradientBoosting", "macro_f1", "most typical", "prototypes in use", "identity"):
        assert text in printed


def test_classify_gives_class_probabilities_prototype_and_reason(trained, tmp_path):
    folder, _ = trained
    result = run("classify", folder / "model.ddcl", SYNTHETIC, "--only", "UNKNOWN", "--out", tmp_path / "unknown.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "unknown.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    for row in rows:
        probability = {name: float(row[f"p({name})"]) for name in ("DEBRIS", "PAYLOAD", "ROCKET BODY")}
        assert row["recorded"] == "UNKNOWN"
        assert row["class"] == max(probability, key=probability.get)
        assert sum(probability.values()) == pytest.approx(1.0)
        assert f"prototype {row['prototype']}:" in row["reason"]
    assert "SYNTHETIC" in result.stdout


def test_classify_names_the_known_classes_when_none_matches(trained, tmp_path):
    folder, _ = trained
    result = run("classify", folder / "model.ddcl", SYNTHETIC, "--only", "ROCKET", "--out", tmp_path / "x.csv")
    assert "no object has OBJECT_TYPE 'ROCKET'; the catalog has DEBRIS, PAYLOAD" in fails(result)


def test_a_catalog_given_as_model_is_refused(tmp_path, trained):
    folder, _ = trained
    result = run("classify", SYNTHETIC, folder / "model.ddcl", "--out", tmp_path / "x.csv")
    assert "not a whole model file" in fails(result)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("n_prototype = 3\n", "unknown parameters ['n_prototype']"),
        ("lr = \n", "not a TOML file"),
        ("lr = -1.0\ntemperature = 2.0\n", "2 parameters break their rules"),
    ],
)
def test_a_wrong_config_is_one_line(tmp_path, config, message):
    (tmp_path / "c.toml").write_text(config)
    assert message in fails(run("train", SYNTHETIC, "--config", tmp_path / "c.toml", "--out", tmp_path / "run"))


def test_wrong_catalogs_and_targets_are_one_line(tmp_path):
    (tmp_path / "page.html").write_text("<!DOCTYPE html><html></html>")
    assert "page.html" in fails(run("train", tmp_path / "page.html", "--out", tmp_path / "run"))
    assert "no column 'KIND'" in fails(run("train", SYNTHETIC, "--target", "KIND", "--out", tmp_path / "run"))
    assert "does not exist" in fails(run("train", tmp_path / "absent.csv", "--out", tmp_path / "run"))


def test_a_catalog_without_designators_goes_all_the_way(tmp_path):
    catalog, config, out = tmp_path / "debris.csv", tmp_path / "quick.toml", tmp_path / "run"
    table = pl.read_csv(SYNTHETIC, infer_schema=False).drop("OBJECT_ID", "INTLDES").head(300)
    catalog.write_bytes(table.write_csv(line_terminator="\r\n").encode("utf-16"))
    config.write_bytes(QUICK.replace("= 4", "= 2").replace("\n", "\r").encode("utf-16"))
    with pytest.warns(CatalogWarning, match="no split by launch"):
        result = run("train", catalog, "--config", config, "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert "no object has an OBJECT_ID" in metrics["split"]
    with pytest.warns(CatalogWarning):
        result = run("classify", out / "model.ddcl", catalog, "--out", tmp_path / "classes.csv")
    assert result.exit_code == 0, result.output


def test_time_split_trains_on_the_past(tmp_path):
    (tmp_path / "quick.toml").write_text(QUICK)
    out = tmp_path / "run"
    result = run("train", SYNTHETIC, "--split", "time", "--config", tmp_path / "quick.toml", "--out", out)
    assert result.exit_code == 0, result.output
    assert "launches before 2015" in json.loads((out / "metrics.json").read_text())["split"]


def test_train_on_the_real_catalog_with_element_sets(shared_data, tmp_path):
    # A short training: that it runs and learns, not how well; pipelines/results/first_run.md has the figures.
    (tmp_path / "quick.toml").write_text(QUICK.replace("= 4", "= 3"))
    satcat = shared_data / "satcat" / "spacetrack_satcat_current_2025-03-16.json.gz"
    elsets = shared_data / "elsets" / "spacetrack_3le_2025-03-15.txt.gz"
    out = tmp_path / "run"
    result = run("train", satcat, "--elsets", elsets, "--config", tmp_path / "quick.toml", "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["synthetic"] is False
    assert "BSTAR" in metrics["features"]
    assert metrics["macro_f1"] > metrics["peers"]["majority class"]["macro_f1"] + 0.3
    again = run("classify", out / "model.ddcl", satcat, "--elsets", elsets, "--out", out / "c.csv")
    assert again.exit_code == 0, again.output
    assert "'BSTAR'" in fails(run("classify", out / "model.ddcl", satcat, "--out", out / "c.csv"))
