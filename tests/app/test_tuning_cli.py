"""``ddcl-tab tune`` as a user types it."""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import has_known_class
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.app._tune import fit_search, write_settings
from ddcl_tab.errors import LeakWarning
from ddcl_tab.space import FAMILY_COLUMNS, FAMILY_COUNTS, family_columns, launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.tuning import DDCLSearchCV
from tests.app.test_cli import fails, run

#: The smallest training of the small catalog that is sound; the space reaches further by itself.
BEGIN = """
n_prototypes = 6
temperature = 0.3
lr = 0.02
lr_ratio = 30.0
d_token = 8
n_heads = 2
n_blocks = 1
max_epochs = 4
"""
PICTURES = ("history.png", "contour.png", "importance.png")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Folder with catalog, configuration and results; the command; what it printed."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "begin.toml").write_text(BEGIN)
    assert run("synth", "--rows", 700, "--out", folder / "catalog.csv").exit_code == 0
    command = ["tune", folder / "catalog.csv", "--config", folder / "begin.toml", "--seed", 1, "--out", folder / "run"]
    result = run(*command, "--trials", 3)
    assert result.exit_code == 0, result.output
    return folder, command, result


# The fixture trains a dozen networks, some of them wide: 15 s on a free core.
def test_tune_shows_the_bar_and_a_table_of_all_trials(tuned):
    _, _, result = tuned
    assert re.search(r"3/3 .*best=-0\.\d+, infeasible=\d, pruned=\d", result.stderr)
    assert "| trial | state " in result.stdout
    rows = re.findall(r"^\| ([012]) +\| (complete|pruned|infeasible) ", result.stdout, flags=re.M)
    assert sorted(number for number, _ in rows) == ["0", "1", "2"]
    assert "lr_ratio searched from" in result.stdout
    assert "SYNTHETIC" in result.stdout


def test_tune_writes_trials_best_parameters_model_and_pictures(tuned):
    folder, _, result = tuned
    out = folder / "run"
    trials = pd.read_csv(out / "trials.csv")
    assert list(trials["trial"]) == [0, 1, 2]
    best = tomllib.loads((out / "best.toml").read_text())
    top = trials[trials["rank_test_score"] == 1].iloc[0]
    assert top["feasible"]
    assert best["lr_ratio"] == pytest.approx(top["param_lr_ratio"])
    assert best["max_epochs"] == 4
    written = pd.read_csv(out / "trials.csv", dtype=str)
    measured = [name for name in written if name.startswith(("split", "mean_test", "std_test", "margin_"))]
    assert len(measured) >= 10
    texts = [text for name in measured for text in written[name].dropna()]
    assert max(len(text.partition(".")[2].partition("e")[0].lstrip("0")) for text in texts) == 6
    clf = DDCLClassifier.load(out / "model.ddcl")
    assert clf.get_params().items() >= best.items()
    assert len(clf.predict(read_satcat(folder / "catalog.csv"))) == 700
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")
    for name in PICTURES:
        assert (out / name).is_file() != (f"no {name}: " in result.stdout)


def test_tune_scores_beside_the_untuned_classifier_and_the_peers(tuned):
    folder, _, result = tuned
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert next(iter(metrics["peers"])) == "DDCLClassifier untuned"
    assert "HistGradientBoosting" in metrics["peers"]
    assert "DDCLClassifier untuned" in result.stdout


def test_the_best_parameters_give_the_same_model_to_train(tuned):
    folder, _, _ = tuned
    config = folder / "run" / "best.toml"
    again = run("train", folder / "catalog.csv", "--config", config, "--seed", 1, "--out", folder / "again")
    assert again.exit_code == 0, again.output
    scores = [json.loads((folder / name / "metrics.json").read_text())["log_loss"] for name in ("run", "again")]
    assert scores[0] == scores[1]


def test_trials_see_the_siblings_that_train_sees(tuned):
    """A fold of a trial gives the score of a classifier that counts the families of the whole catalog."""
    folder, _, _ = tuned
    row = pd.read_csv(folder / "run" / "trials.csv").iloc[0]
    params = {name.removeprefix("param_"): row[name] for name in row.index if name.startswith("param_")}
    params = {name: int(value) if float(value).is_integer() else value for name, value in params.items()}
    frame = read_satcat(folder / "catalog.csv")
    known = frame.filter(has_known_class(frame, "OBJECT_TYPE"))
    rows = known[split_catalog(known, "OBJECT_TYPE", "launch", 1).train]
    y = rows["OBJECT_TYPE"].to_numpy()
    train, test = next(StratifiedGroupKFold(3).split(y, y, launch_of(rows).to_numpy()))
    clf = DDCLClassifier(**tomllib.loads(BEGIN) | params | {"random_state": 1, "family": "auto"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        clf.fit_with_checkpoint(rows[train], catalog=frame)
    probability = clf.predict_proba(rows[test], catalog=frame)
    assert -log_loss(y[test], probability) == pytest.approx(row["split0_test_score"], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "made", "left_to_it"),
    [
        ({}, FAMILY_COLUMNS, None),
        ({"family_counts": True}, (*FAMILY_COLUMNS, *FAMILY_COUNTS), None),
        ({"family": None}, (), None),
        ({"family": "COUNTRY"}, (), "COUNTRY"),
    ],
)
def test_a_search_is_given_the_family_columns_of_the_settings(synthetic, settings, made, left_to_it):
    class Given(DDCLSearchCV):
        def fit(self, X):
            self.X_ = X

    search = Given(DDCLClassifier(target="OBJECT_TYPE", **settings))
    fit_search(search, synthetic, 0)
    assert [name for name in search.X_.columns if name.startswith("FAMILY_")] == [column.name for column in made]
    assert search.estimator.family == left_to_it
    if settings:
        return
    whole = family_columns(synthetic).with_columns(synthetic["NORAD_CAT_ID"])
    assert search.X_.select(whole.columns).equals(
        search.X_.select("NORAD_CAT_ID").join(whole, "NORAD_CAT_ID").select(whole.columns)
    )


def test_best_parameters_without_families_say_so(tuned, tmp_path):
    search = SimpleNamespace(
        best_params_={"n_prototypes": 6}, best_index_=0, best_score_=-0.5, n_splits_=3, cv_results_={"trial": [0]}
    )
    write_settings(search, {"max_epochs": 8, "family": None}, tmp_path)
    text = (tmp_path / "best.toml").read_text()
    assert tomllib.loads(text) == {"max_epochs": 8, "n_prototypes": 6}
    assert "--no-family" in text
    assert "family" not in (tuned[0] / "run" / "best.toml").read_text()


def test_tune_again_goes_on_and_other_rows_are_one_line(tuned):
    folder, command, _ = tuned
    before = (folder / "run" / "trials.csv").read_text()
    again = run(*command, "--trials", 3)
    assert again.exit_code == 0, again.output
    assert (folder / "run" / "trials.csv").read_text() == before
    other = [part if part != 1 else 2 for part in command]
    assert "study 'ddcl-tab' was made with other rows and folds" in fails(run(*other))


def test_no_feasible_trial_is_one_line_after_the_table(tuned, tmp_path):
    folder, _, _ = tuned
    (tmp_path / "wild.toml").write_text(BEGIN.replace("lr = 0.02", "lr = 1e20"))
    result = run("tune", folder / "catalog.csv", "--config", tmp_path / "wild.toml", "--trials", 1, "--out", tmp_path)
    assert "none of 1 trials was feasible" in fails(result)
    assert "| 0     | infeasible |" in result.stdout
    assert (tmp_path / "trials.csv").is_file()
    assert not (tmp_path / "best.toml").exists()
