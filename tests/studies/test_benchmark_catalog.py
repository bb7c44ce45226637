from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._evaluation import score
from ddcl_tab.errors import LeakWarning
from ddcl_tab.estimators import _classifier as classifier
from ddcl_tab.space import family_columns
from ddcl_tab.space._families import SIZES
from ddcl_tab.space._join import launch_of

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
NAMES = "OBJECT_NAME", "OBJECT_ID", "NORAD_CAT_ID", "OBJECT_TYPE", "DECAY", "COMMENT", "LAUNCH"


@pytest.fixture(scope="module")
def bench():
    """The script and its modules; pipelines/ is a folder of scripts, no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        names = {"script": "benchmark_catalog", "peers": "peers"}
        names |= {name: f"peers.{name}" for name in ("networks", "paired", "readouts", "tables", "tasks")}
        yield SimpleNamespace(**{short: importlib.import_module(name) for short, name in names.items()})


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "benchmark_catalog_short" / "data.jsonl").read_text().splitlines()]


def test_command_shares_work_and_a_second_call_computes_nothing(tmp_path, bench, capsys):
    # Most of the time goes into starting Python three times: the command and its two workers.
    quick = ["HistGradientBoosting", "random forest"]
    arguments = ["nowhere", str(tmp_path), "--short", "--tasks", "object", "cloud", "--models", *quick]
    command = [sys.executable, PIPELINES / "benchmark_catalog.py", *arguments, "--jobs", "2"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"})
    lines = lines_of(tmp_path)
    done = sorted((line["task"], line["model"]) for line in lines)
    assert done == [(task, model) for task in ("cloud", "object") for model in quick]
    assert all(line["fit_seconds"] > 0 and line["macro_f1"] > 0.5 for line in lines)
    assert all(line["commit"] == lines[0]["commit"] for line in lines)
    before = (tmp_path / "benchmark_catalog_short" / "data.jsonl").read_bytes()

    bench.script.main(arguments)
    assert capsys.readouterr().out == "0 lines to make\n"
    assert (tmp_path / "benchmark_catalog_short" / "data.jsonl").read_bytes() == before
    text = (tmp_path / "benchmark_catalog_short" / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert text.count("| random forest ") == 4
    tables = json.loads((tmp_path / "benchmark_catalog_short" / "tables.json").read_text())
    assert tables["tasks"]["object"]["reference"] == "HistGradientBoosting"


def test_new_settings_are_computed_anew_and_old_lines_passed_over(tmp_path, bench, monkeypatch, capsys):
    arguments = ["nowhere", str(tmp_path), "--short", "--tasks", "cloud", "--models", "random forest"]
    bench.script.main(arguments)
    old = bench.peers.MODELS["random forest"]
    monkeypatch.setitem(bench.peers.MODELS, "random forest", old._replace(short={"n_estimators": 3}))
    bench.script.main(arguments)
    assert capsys.readouterr().out.count("1 lines to make") == 2
    tables = json.loads((tmp_path / "benchmark_catalog_short" / "tables.json").read_text())
    shown = tables["tasks"]["cloud"]["models"]["random forest"]
    assert shown["folds"] == [0]
    assert shown["figures"]["macro_f1"]["mean"] == lines_of(tmp_path)[1]["macro_f1"]


def test_a_task_and_its_hidden_form_share_a_fit(tmp_path, bench, monkeypatch):
    fits = []
    monkeypatch.setattr(bench.script, "fit", lambda job, fold, fit=bench.script.fit: fits.append(job) or fit(job, fold))
    tasks = ["object", "object-hidden", "object-hidden-copies"]
    bench.script.main(["nowhere", str(tmp_path), "--short", "--tasks", *tasks, "--models", "random forest"])
    assert [job.task for job in fits] == ["object", "object-hidden-copies"]  # which trains on other rows
    lines = {line["task"]: line for line in lines_of(tmp_path)}
    assert lines.keys() == set(tasks)
    assert lines["object"]["fit_seconds"] == lines["object-hidden"]["fit_seconds"]
    assert lines["object"]["log_loss"] < lines["object-hidden"]["log_loss"]


def test_lines_of_before_a_setting_was_renamed_are_not_computed_again(bench):
    job = bench.script.Job("object", 0, "DDCLClassifier", {"target": None, "augmented_share": 0.7}).describe()
    old = job | {"settings": {"target": "OBJECT_TYPE", "teacher_share": "0.7"}}
    other = job | {"settings": {"target": "OBJECT_TYPE", "teacher_share": "0.3"}}
    assert bench.script.key_of(old) == bench.script.key_of(job) != bench.script.key_of(other)


def test_absent_packages_and_failing_models_are_said_and_hinder_no_other(tmp_path, bench, monkeypatch, capsys):
    model = bench.peers.MODELS["random forest"]
    monkeypatch.setitem(bench.peers.MODELS, "TabM", model._replace(packages=("no_such_package",)))
    monkeypatch.setitem(bench.peers.MODELS, "EBM", model._replace(short={"n_estimators": -1}, packages=()))
    models = ["TabM", "EBM", "random forest"]
    bench.script.main(["nowhere", str(tmp_path), "--short", "--tasks", "cloud", "--models", *models])
    assert "TabM is left out: no_such_package not installed." in capsys.readouterr().out
    failed, done = lines_of(tmp_path)
    assert "n_estimators" in failed["error"]
    assert done["model"] == "random forest"
    text = (tmp_path / "benchmark_catalog_short" / "report.md").read_text()
    assert "TabM is left out" in text
    assert "cloud, fold 0, EBM: InvalidParameterError" in text
    bench.script.main(["nowhere", str(tmp_path), "--short", "--tasks", "cloud", "--models", *models])
    assert "1 lines to make" in capsys.readouterr().out  # what failed is tried again


def test_a_job_that_another_process_runs_is_left_to_it(tmp_path, bench):
    job = bench.script.Job("cloud", 0, "random forest", {})
    with bench.script.claim(tmp_path / "lines", job) as mine:
        assert mine
        assert bench.script.run_jobs(tmp_path / "lines", [job], [None]) == []
    assert not (tmp_path / "lines").exists()
    with bench.script.claim(tmp_path / "lines", job) as mine:
        assert mine


def line(model: str, fold: int, macro_f1: float, task: str = "object", **more: Any) -> dict[str, Any]:
    figures = {"macro_f1": macro_f1, "accuracy": 0.9, "balanced_accuracy": 0.9, "log_loss": 0.2, "ece": 0.01}
    shared = {"task": task, "fold": fold, "model": model, "columns": ["PERIOD"], "n_test": 10, "n_ordinary": 5}
    seconds = {"fit_seconds": 1.0, "predict_seconds": 0.1}
    return shared | figures | {"ordinary": figures | {"macro_f1": macro_f1 - 0.1}} | seconds | more


def test_differences_are_paired_by_fold_with_the_best_boosting_model(bench):
    lines = [
        *(line("XGBoost", fold, value) for fold, value in enumerate((0.80, 0.90, 0.85))),
        *(line("CatBoost", fold, value) for fold, value in enumerate((0.79, 0.90, 0.85))),
        line("LightGBM", 1, 0.99),  # best, but on an easy fold alone
        *(line("random forest", fold, 0.95) for fold in range(3)),  # better, but no boosting
        line("DDCLClassifier", 0, 0.83, log_loss=0.3),
        line("DDCLClassifier", 2, 0.86),
        line("DDCLClassifier", 4, 0.10),  # no pair
    ]
    task = bench.tables.summarise(lines)["object"]
    assert task["reference"] == "XGBoost"
    ours = task["models"]["DDCLClassifier"]
    assert ours["folds"] == [0, 2, 4]
    assert ours["figures"]["macro_f1"]["mean"] == pytest.approx((0.83 + 0.86 + 0.10) / 3)
    minus = ours["minus_reference"]
    assert minus["macro_f1"]["mean"] == pytest.approx(0.02)
    assert minus["macro_f1"]["std"] == pytest.approx(0.02 / 2**0.5)
    assert minus["ordinary"]["mean"] == pytest.approx(0.02)
    assert minus["log_loss"]["mean"] == pytest.approx(0.05)
    text = bench.tables.markdown({"object": task}, ["head"], [], {})
    assert "| minus XGBoost " in text
    assert "+0.020 ± 0.014" in text


def test_tables_without_boosting_or_constellations_say_so_by_leaving_out(bench):
    lines = [line("DDCLClassifier", 0, 0.8, task="cloud", n_ordinary=10)]
    summary = bench.tables.summarise(lines)
    assert list(summary) == ["cloud"]
    assert summary["cloud"]["reference"] is None
    assert "minus" not in bench.tables.markdown(summary, [], [], {}).split("ECE.")[1]


@pytest.mark.parametrize("name", ["object", "object-time", "cloud"])
def test_hidden_forms_differ_in_sizes_alone(bench, synthetic, name):
    open_, hidden, copies = (
        bench.tasks.make_fold(synthetic, task, 1) for task in (name, f"{name}-hidden", f"{name}-hidden-copies")
    )
    gone = hidden.X_test["RCS_SIZE"].is_null() & open_.X_test["RCS_SIZE"].is_not_null()
    there = open_.X_test["RCS_SIZE"].is_not_null().sum()
    assert 0.3 < gone.sum() / there < 0.5
    assert hidden.X_test["RCS_SIZE"].filter(~gone).equals(open_.X_test["RCS_SIZE"].filter(~gone))
    assert hidden.X_test.drop("RCS_SIZE").equals(open_.X_test.drop("RCS_SIZE"))
    assert hidden.X_train.equals(open_.X_train)
    assert copies.X_test.equals(hidden.X_test)
    n = len(open_.X_train)
    assert copies.X_train[:n].equals(open_.X_train)
    assert copies.X_train[n:].drop("RCS_SIZE").equals(open_.X_train.drop("RCS_SIZE"))
    assert copies.X_train["RCS_SIZE"][n:].null_count() == n
    np.testing.assert_array_equal(copies.groups[:n], copies.groups[n:])
    np.testing.assert_array_equal(copies.y_train, np.tile(open_.y_train, 2))


@pytest.mark.parametrize("task", ["object", "object-time", "orbit", "cloud", "cloud-time"])
def test_every_model_sees_the_columns_that_ours_would_choose(bench, synthetic, task):
    fold = bench.tasks.make_fold(synthetic, task, 0)
    assert not set(NAMES) & set(fold.X_train.columns)
    assert fold.X_train.columns == fold.X_test.columns
    assert set(np.unique(fold.y_test)) <= set(np.unique(fold.y_train))
    if task == "orbit":
        wanted = {"PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "SEMIMAJOR_AXIS", "ECCENTRICITY"}
        assert set(fold.X_train.columns) == wanted  # the synthetic catalog has no element sets
    if task.startswith("cloud"):
        assert not {"COUNTRY", "SITE", "LAUNCH_YEAR"} & set(fold.X_train.columns)
        assert len(np.unique(fold.y_train)) == 12
        assert fold.groups is None
    if task == "object":
        known = synthetic.filter(pl.col("OBJECT_TYPE") != "UNKNOWN").drop("OBJECT_TYPE")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakWarning)
            ours = bench.tasks.TableEncoder().fit(known).feature_names_
        assert fold.X_train.columns == ours


def test_family_columns_are_seen_where_the_class_is_no_launch(bench, synthetic):
    family = set(bench.tasks.FAMILY)
    catalog = synthetic.hstack(family_columns(synthetic))
    seen = {task: set(bench.tasks.make_fold(catalog, task, 0).X_train.columns) & family for task in bench.tasks.TASKS}
    for task in ("object", "object-time", "orbit", "cloud", "cloud-time"):
        assert not seen[task], task
    filled = {name for name in family if catalog[name].null_count() < len(catalog)}
    assert seen["object-family"] == seen["object-time-family"] == filled
    orbit = {"DEVIATION", "SPREAD", "SHARE", "Q25", "Q75"}
    assert {name.rsplit("_", 1)[1] for name in seen["orbit-family"]} == orbit
    assert not {name for name in seen["orbit-family"] if "DECAYED" in name or name.split("_")[1] in SIZES}
    assert bench.peers.MODELS["DDCLClassifier"].make(0, family="auto").family is None


def test_clouds_are_clustered_without_what_says_the_launch(bench, tmp_path):
    import cluster_study

    X, _ = cluster_study.problems(tmp_path, True)["cloud"]
    assert not set(bench.tasks.LAUNCH_COLUMNS) & set(X.columns)
    assert not [name for name in X.columns if name.startswith("FAMILY")]


def test_folds_by_launch_part_the_catalog_and_split_no_launch(bench, synthetic):
    # A column that says the launch in numbers shows where each row went.
    number = pl.Series("PERIOD", launch_of(synthetic).rank("dense").to_numpy().astype(float))
    folds = [bench.tasks.make_fold(synthetic.with_columns(number), "object", i) for i in range(5)]
    assert sum(len(fold.y_test) for fold in folds) == 4900
    for fold in folds:
        assert not set(fold.X_train["PERIOD"]) & set(fold.X_test["PERIOD"])


def test_cloud_time_trains_on_what_was_catalogued_first(bench, synthetic):
    number = synthetic["NORAD_CAT_ID"].cast(pl.Float64).alias("PERIOD")
    fold = bench.tasks.make_fold(synthetic.with_columns(number), "cloud-time", 3)
    for cloud in np.unique(fold.y_train):
        early, late = (
            fold.X_train["PERIOD"].filter(fold.y_train == cloud),
            fold.X_test["PERIOD"].filter(fold.y_test == cloud),
        )
        assert early.max() < late.min()
        assert len(early) == np.ceil(0.7 * (len(early) + len(late)))


def test_constellations_are_counted_apart_by_name(bench, synthetic):
    name = pl.when(pl.col("LAUNCH_YEAR") == 2020).then(pl.lit("Starlink-1")).otherwise("OBJECT_NAME")
    fold = bench.tasks.make_fold(synthetic.with_columns(name.alias("OBJECT_NAME")), "object", 0)
    assert (~fold.ordinary).sum() > 0
    assert set(fold.X_test["LAUNCH_YEAR"].filter(~fold.ordinary)) == {2020.0}
    assert 2020.0 not in set(fold.X_test["LAUNCH_YEAR"].filter(fold.ordinary))


@pytest.mark.parametrize("task", ["object", "cloud"])
def test_networks_train_and_validate_on_the_rows_of_ours(bench, synthetic, monkeypatch, task):
    class Seen(Exception):
        pass

    def train_network(network, objective, train, validation, **settings):
        raise Seen(train, validation)

    fold = bench.tasks.make_fold(synthetic, task, 1)
    monkeypatch.setattr(classifier, "train_network", train_network)
    with pytest.raises(Seen) as seen:
        DDCLClassifier(random_state=1, augmented_share=0.0, hidden_share=0.0).fit(
            fold.X_train, fold.y_train, groups=fold.groups
        )
    theirs = bench.networks.encode(fold.X_train, fold.y_train, fold.groups, 1)
    for ours, rows in zip(seen.value.args, (theirs.train, theirs.validation), strict=True):
        np.testing.assert_array_equal(ours.numeric.numpy(), rows.numeric)
        np.testing.assert_array_equal(ours.categorical.numpy(), rows.categorical)
        np.testing.assert_array_equal(ours.label, rows.label)


def small_fold(bench, synthetic):
    fold = bench.tasks.make_fold(synthetic.sample(600, seed=1), "object", 0)
    holes = pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise("PERIGEE").alias("PERIGEE")
    return fold._replace(X_train=fold.X_train.with_columns(holes), X_test=fold.X_test.with_columns(holes))


def test_every_model_learns_and_says_probabilities(bench, synthetic, subtests):
    fold = small_fold(bench, synthetic)
    unseen = fold.X_test.with_columns(pl.lit("ELSEWHERE").alias("SITE"))
    for name, model in bench.peers.MODELS.items():
        with subtests.test(name), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks of the libraries
            if model.missing():
                pytest.skip(f"{model.missing()} not installed")
            fitted = model.make(0, **model.defaults | model.short)
            fitted.fit(fold.X_train, fold.y_train, groups=fold.groups)
            probability = fitted.predict_proba(unseen)
            assert probability.shape == (len(unseen), 3)
            np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-5)
            said = fitted.classes_[fitted.predict_proba(fold.X_test).argmax(axis=1)]
            majority = (fold.y_test == "PAYLOAD").mean()
            assert (said == fold.y_test).mean() > majority + 0.1


@pytest.mark.parametrize("name", ["our encoder, PMA", "our encoder, prototypes by distance", "MLP, periodic"])
def test_the_same_seed_gives_the_same_bits_and_leaves_the_generator_alone(bench, synthetic, name):
    model = bench.peers.MODELS[name]
    if model.missing():
        pytest.skip(f"{model.missing()} not installed")
    fold, state = small_fold(bench, synthetic), torch.random.get_rng_state()

    def probability(seed: int) -> Any:
        fitted = model.make(seed, **model.defaults | {"max_epochs": 1}).fit(fold.X_train, fold.y_train, fold.groups)
        return fitted.predict_proba(fold.X_test)

    first = probability(0)
    np.testing.assert_array_equal(first, probability(0))
    assert not np.array_equal(first, probability(1))
    assert torch.equal(state, torch.random.get_rng_state())


def test_logits_by_distance_prefer_the_nearest_prototype(bench):
    head = bench.readouts.DistanceHead(3, 2, 4)
    with torch.no_grad():
        head.prototypes.copy_(torch.arange(6.0).view(3, 2, 1).expand(3, 2, 4))
        near = head(torch.tensor([[0.1] * 4, [2.4] * 4, [5.2] * 4]))
        apart = ((torch.full((4,), 0.1) - head.prototypes) ** 2).sum(-1)
    assert near.argmax(dim=1).tolist() == [0, 1, 2]
    assert torch.allclose(near[0], (-apart / 2).logsumexp(dim=1))


# --- paired bootstrap -----------------------------------------------------------------------------------------------


def judged(bench, seed: int, n: int = 200) -> Any:
    rng = np.random.default_rng(seed)
    unit = np.sort(np.random.default_rng(0).integers(0, 40, n)).astype(str)
    y = np.array(["a", "b", "c"])[np.random.default_rng(1).integers(0, 3, n)]
    return bench.paired.Judged(y, unit, rng.dirichlet(np.ones(3), n), np.array(["a", "b", "c"]))


def test_a_paired_difference_is_that_of_the_scores_and_its_spread_that_of_launches_drawn_anew(bench):
    ours, theirs = judged(bench, 2), judged(bench, 3)
    found = bench.paired.paired_difference([ours], [theirs])
    names, draws = np.unique(ours.unit), []
    rng = np.random.default_rng(9)
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(ours.unit == unit) for unit in rng.choice(names, len(names))])
        draws.append(difference(ours, theirs, rows))
    for name, part in found.items():
        assert part["difference"] == pytest.approx(difference(ours, theirs, slice(None))[name])
        spread = np.std([draw[name] for draw in draws], ddof=1)
        assert part["standard_error"] == pytest.approx(spread, rel=0.15)
        assert part["low"] < part["difference"] < part["high"]


def difference(ours: Any, theirs: Any, rows: Any) -> dict[str, float]:
    a, b = (score(fold.y[rows], fold.probability[rows], fold.classes) for fold in (ours, theirs))
    return {name: a[name] - b[name] for name in ("macro_f1", "log_loss", "ece")}


def test_units_in_several_folds_are_drawn_alike_and_other_rows_are_refused(bench):
    ours, theirs = judged(bench, 2), judged(bench, 3)
    once = bench.paired.paired_difference([ours], [theirs])
    assert bench.paired.paired_difference([ours, ours], [theirs, theirs]) == once
    swapped = bench.paired.paired_difference([ours, theirs], [theirs, ours])  # cancels in every draw, not on average
    assert swapped["macro_f1"]["standard_error"] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="different rows"):
        bench.paired.paired_difference([ours], [theirs._replace(y=theirs.y[::-1])])


def test_probabilities_are_kept_compared_with_ours_and_made_again_where_they_are_lost(
    tmp_path, bench, capsys, monkeypatch
):
    models = ["DDCLClassifier", "HistGradientBoosting", "random forest"]
    arguments = ["nowhere", str(tmp_path), "--short", "--tasks", "object", "--models", *models]
    arguments += ["--judged", str(tmp_path / "judged")]
    bench.script.main(arguments)
    files = sorted((tmp_path / "judged").iterdir())
    assert len(files) == 3
    folder = tmp_path / "benchmark_catalog_short"
    found = json.loads((folder / "paired.json").read_text())["object"]
    assert list(found) == models[1:]
    line = {line["model"]: line for line in lines_of(tmp_path)}
    for peer, part in found.items():
        figures = part["figures"]["macro_f1"]
        assert figures["difference"] == pytest.approx(line["DDCLClassifier"]["macro_f1"] - line[peer]["macro_f1"])
        assert figures["standard_error"] > 0
    text = (folder / "report.md").read_text()
    assert text.count("Paired bootstrap over the test launches") == 1
    files[0].unlink()
    bench.script.main(arguments)
    assert "1 lines to make" in capsys.readouterr().out
    assert files[0].exists()
    # A comparison with other settings is no longer shown.
    forest = bench.peers.MODELS["random forest"]
    monkeypatch.setitem(bench.peers.MODELS, "random forest", forest._replace(short={"n_estimators": 3}))
    bench.script.main(arguments[:-2])
    section = (folder / "report.md").read_text().split("Paired bootstrap")[1].split("DDCLClassifier, fold")[0]
    assert "| HistGradientBoosting " in section
    assert "| random forest " not in section
