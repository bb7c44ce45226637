"""DDCLClassifier as a scikit-learn estimator and as a reader of catalogs."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_class_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, InputError, LeakWarning, ModelFileError
from ddcl_tab.space._join import launch_of

#: Small and quick; every test that is not about quality uses it.
QUICK = {"n_prototypes": 8, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 8, "lr": 5e-3, "random_state": 0}
#: Too short to be sound, where a test asks for no sound training.
BRIEF = QUICK | {"max_epochs": 1, "certify": False}


# Some checks fit a dozen rows at a high rate; that such a training says it was unsound is right.
@pytest.mark.filterwarnings("ignore::ddcl_tab.errors.StabilityWarning")
@parametrize_with_checks([DDCLClassifier(**(QUICK | {"certify": "end"}))])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def catalog(synthetic) -> pl.DataFrame:
    return synthetic.sample(800, seed=1)


@pytest.fixture(scope="module")
def fitted(catalog) -> DDCLClassifier:
    with pytest.warns(LeakWarning):
        return DDCLClassifier(**QUICK).fit(catalog)


@pytest.fixture(scope="module")
def arrays():
    return make_classification(300, 5, n_informative=4, n_redundant=0, n_classes=3, class_sep=2.0, random_state=0)


def same_bits(a: DDCLClassifier, b: DDCLClassifier, X) -> bool:
    return np.array_equal(a.predict_proba(X), b.predict_proba(X)) and np.array_equal(a.transform(X), b.transform(X))


# --- catalogs in frames ---------------------------------------------------------------------------------------------


def test_fit_on_a_frame_takes_the_target_column_and_leaves_unknown_out(fitted, catalog):
    assert list(fitted.classes_) == ["DEBRIS", "PAYLOAD", "ROCKET BODY"]
    assert fitted.n_unlabelled_ == (catalog["OBJECT_TYPE"] == "UNKNOWN").sum() > 0
    assert "OBJECT_TYPE" not in fitted.feature_names_in_


def test_leaks_are_refused_with_the_reason(catalog):
    with pytest.warns(LeakWarning, match=r"OBJECT_NAME \(the name says DEB or R/B\)"):
        clf = DDCLClassifier(**BRIEF).fit(catalog)
    assert not {"OBJECT_NAME", "OBJECT_ID", "NORAD_CAT_ID", "DECAY", "COMMENT"} & set(clf.feature_names_in_)


def test_names_and_piece_letters_do_not_reach_a_prediction(fitted, catalog):
    renamed = catalog.with_columns(OBJECT_NAME=pl.lit("R/B"), OBJECT_ID=pl.col("OBJECT_ID").str.slice(0, 8) + "ZZ")
    assert np.array_equal(fitted.predict_proba(renamed), fitted.predict_proba(catalog))
    # Numbers tell which objects are counted already: others are a catalog of their own, with the same launches.
    other = renamed.with_columns(NORAD_CAT_ID=10**9 - pl.col("NORAD_CAT_ID").cast(pl.Int64))
    assert np.array_equal(fitted.predict_proba(other, catalog=other), fitted.predict_proba(catalog))


def test_pandas_and_polars_give_the_same_bits(fitted, catalog):
    with pytest.warns(LeakWarning):
        other = DDCLClassifier(**QUICK).fit(catalog.to_pandas())
    assert isinstance(fitted.prototypes_, pl.DataFrame)
    assert isinstance(other.prototypes_, pd.DataFrame)
    assert np.array_equal(fitted.predict_proba(catalog), other.predict_proba(catalog.to_pandas()))
    assert fitted.prototypes_["name"].to_list() == other.prototypes_["name"].to_list()


def test_columns_are_found_by_name_in_any_order(fitted, catalog):
    assert np.array_equal(fitted.predict_proba(catalog[:, ::-1]), fitted.predict_proba(catalog))


def test_a_missing_column_is_named(fitted, catalog):
    with pytest.raises(InputError, match=r"\['PERIOD'\] were there in fit and are missing now"):
        fitted.predict(catalog.drop("PERIOD"))


def test_missing_target_column_is_named(catalog):
    with pytest.raises(InputError, match="'KIND' is not among the columns"):
        DDCLClassifier(target="KIND").fit(catalog)


def test_validation_keeps_launches_together(catalog, monkeypatch):
    # The seam is the split itself: what it receives and what comes out, on a real fit.
    from ddcl_tab.estimators import _classifier as module

    seen = {}

    def split(rows, fraction, rng):
        seen["train"], seen["validation"] = real(rows, fraction, rng)
        return seen["train"], seen["validation"]

    real = module.split_validation
    monkeypatch.setattr(module, "split_validation", split)
    with pytest.warns(LeakWarning):
        DDCLClassifier(**BRIEF).fit(catalog)
    assert not set(seen["train"].group) & set(seen["validation"].group)
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    assert len(set(seen["train"].group) | set(seen["validation"].group)) == launch_of(known).n_unique()


# --- prototypes and reasons -----------------------------------------------------------------------------------------


def test_the_decision_is_the_mean_of_the_prototypes_decisions(fitted, catalog):
    q = torch.from_numpy(fitted.transform(catalog))
    with torch.no_grad():
        logits = fitted.network_.head(fitted.network_.readout.prototypes).double()
    expected = (q @ logits).softmax(dim=1).numpy()  # of the head's bias, too: memberships sum to 1
    np.testing.assert_allclose(fitted.predict_proba(catalog), expected, atol=1e-5)


def test_memberships_are_shares(fitted, catalog):
    q = fitted.transform(catalog)
    assert q.shape == (len(catalog), 8)
    assert (q >= 0).all()
    np.testing.assert_allclose(q.sum(axis=1), 1.0, atol=1e-12)


def test_prototype_table_adds_up(fitted):
    table = fitted.prototypes_
    assert table["share"].sum() == pytest.approx(1.0)
    assert table["share"].to_list() == sorted(table["share"], reverse=True)
    for kind, total in (("share", 1.0), ("votes", 0.0)):
        rows = table.select([f"{kind} {name}" for name in fitted.classes_]).sum_horizontal()
        np.testing.assert_allclose(rows, total, atol=1e-6)
    shares = table.select([f"column_{i}_share" for i in range(1, 6)]).to_numpy()
    assert (np.diff(shares, axis=1) <= 0).all()
    assert (shares.sum(axis=1) <= 1.0 + 1e-9).all()
    assert set(table["column_1"]) <= {*fitted.encoder_.feature_names_, ""}


def test_votes_are_what_a_column_at_the_prototype_adds_to_the_log_odds_more_than_columns_do_on_average(fitted, catalog):
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    said = fitted.decide(known, catalog=catalog).decision.contribution
    network = fitted.network_
    with torch.no_grad():
        at_prototype = (network.readout.prototypes @ network.head.weight.mT).numpy() / said.shape[1]
    votes = at_prototype - said.mean(axis=(0, 1))
    votes -= votes.mean(axis=1, keepdims=True)
    table = fitted.prototypes_.select([f"votes {name}" for name in fitted.classes_]).to_numpy()
    np.testing.assert_allclose(table, votes, atol=1e-5)
    winners = [name.rpartition(": ")[2].partition(" (")[0] for name in fitted.prototypes_["name"]]
    assert winners == [fitted.classes_[k] for k in table.argmax(axis=1)]


def test_medoids_are_named_for_people_and_of_the_class_that_is_voted_for(fitted, catalog):
    columns = catalog.select("NORAD_CAT_ID", "OBJECT_NAME", "OBJECT_TYPE").iter_rows()
    classes = {f"{number} {name}": label for number, name, label in columns}
    table = fitted.prototypes_
    votes = table.select([f"votes {name}" for name in fitted.classes_]).to_numpy()
    assert [classes[medoid] for medoid in table["medoid"]] == fitted.classes_[votes.argmax(axis=1)].tolist()


def test_what_is_said_of_a_prototype_is_true_of_the_tokens_that_are_its_own(fitted, catalog):
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    said = fitted.decide(known, catalog=catalog)
    table = fitted.prototypes_
    checked = 0
    for k, column, share, values in table.select(
        "prototype", "column_1", "column_1_share", "column_1_values"
    ).iter_rows():
        own = said.decision.prototype == k
        if not column:
            assert not own.any()
            continue
        member = own[:, fitted.encoder_.feature_names_.index(column)]
        assert member.sum() / own.sum() == pytest.approx(share)
        found = re.fullmatch(r"(-?[\d.]+)(?:-| to )(-?[\d.]+)(?: \S+)?", values)
        if found and column in known.columns:
            within = known[column].is_between(float(found[1]), float(found[2])).fill_null(False).to_numpy()
            assert within[member].mean() >= 0.949
            checked += 1
    assert checked


# --- soundness of training ------------------------------------------------------------------------------------------


def test_history_proves_identity_and_schedule(fitted):
    history = fitted.history_
    assert all(row["identity_residual"] < 1e-5 for row in history)
    taus = [row["tau"] for row in history]
    assert taus == sorted(taus, reverse=True)
    assert taus[-1] == pytest.approx(fitted.temperature)
    assert sum(row["best"] for row in history) == 1
    for row in history:
        assert row["quantization"] == pytest.approx(row["reconstruction"] + row["variance"], rel=1e-5)


def test_the_same_random_state_gives_the_same_bits_and_leaves_global_state_alone(arrays):
    X, y = arrays
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state is what is tested
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads(), torch.get_default_dtype()  # noqa: NPY002
    a, b = (DDCLClassifier(**QUICK).fit(X, y) for _ in range(2))
    assert same_bits(a, b, X)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2:] == (torch.get_num_threads(), torch.get_default_dtype())
    assert not same_bits(a, DDCLClassifier(**(QUICK | {"random_state": 1})).fit(X, y), X)


def test_fits_in_parallel_threads_equal_fits_alone(arrays):
    X, y = arrays
    alone = [DDCLClassifier(**(QUICK | {"random_state": seed})).fit(X, y) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda s: DDCLClassifier(**(QUICK | {"random_state": s})).fit(X, y), range(2)))
    assert all(same_bits(a, b, X) for a, b in zip(alone, together, strict=True))


def test_order_of_rows_does_not_matter(arrays):
    X, y = arrays
    order = np.random.default_rng(0).permutation(len(y))
    assert same_bits(DDCLClassifier(**QUICK).fit(X, y), DDCLClassifier(**QUICK).fit(X[order], y[order]), X)


def test_weight_two_is_the_row_twice(arrays):
    X, y = arrays
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = DDCLClassifier(**QUICK, certify=False).fit(X, y, sample_weight=weight)
    assert same_bits(weighted, DDCLClassifier(**QUICK, certify=False).fit(X.repeat(weight, 0), y.repeat(weight)), X)


def test_a_row_is_predicted_alike_in_any_company(fitted, catalog):
    together = fitted.predict_proba(catalog)
    assert np.array_equal(together[[3]], fitted.predict_proba(catalog[3]))
    assert np.array_equal(together[:300], fitted.predict_proba(catalog[:300]))


def test_learns_a_separable_problem(arrays):
    X, y = arrays
    clf = DDCLClassifier(**(QUICK | {"max_epochs": 30})).fit(X[:200], y[:200])
    assert clf.score(X[200:], y[200:]) > 0.7 > 2 * np.bincount(y).max() / len(y)


# --- scikit-learn company -------------------------------------------------------------------------------------------


def test_pipeline_grid_search_and_cross_validation(arrays):
    X, y = arrays
    pipeline = make_pipeline(StandardScaler(), DDCLClassifier(**(BRIEF | {"max_epochs": 2})))
    search = GridSearchCV(pipeline, {"ddclclassifier__n_prototypes": [3, 5]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_estimator_[-1].transform(X[:, :5]).shape[1] in (3, 5)
    groups = np.arange(len(y)) // 3
    predicted = cross_val_predict(clone(pipeline), X, y, cv=GroupKFold(2), groups=groups, method="predict_proba")
    assert predicted.shape == (len(y), 3)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_names_the_memberships(fitted, catalog, library):
    clf = pickle.loads(pickle.dumps(fitted)).set_output(transform=library)
    frame = clf.transform(catalog)
    assert isinstance(frame, pd.DataFrame if library == "pandas" else pl.DataFrame)
    assert list(frame.columns) == list(fitted.get_feature_names_out()) == [f"prototype_{k}" for k in range(8)]


def test_class_weight_lifts_the_rare_class(catalog):
    def recall(class_weight):
        with pytest.warns(LeakWarning):
            clf = DDCLClassifier(**QUICK | {"certify": False}, class_weight=class_weight).fit(catalog)
        rare = catalog.filter(pl.col("OBJECT_TYPE") == "ROCKET BODY")
        return (clf.predict(rare) == "ROCKET BODY").mean()

    assert recall("balanced") > recall(None)


#: Three names of two classes, sorted as these are, with a key of another type that is the second of them.
NAMES = [
    (["DEB", "PAY"], np.str_("PAY")),
    ([1, 2], np.int16(2)),
    ([-7, 3], 3.0),
    ([False, True], np.bool_(True)),
    ([0.0, 2.0], 2),
    (["1", "2"], "2"),
]


@pytest.fixture(scope="module")
def unweighed():
    """Rows, class of each as 0 or 1 (a third of them 1), and a function from labels and class_weight to a fit."""
    rng = np.random.default_rng(4)
    index = (np.arange(150) % 3 == 0).astype(int)
    X = rng.normal(size=(150, 2)) + index[:, None]
    return X, index, lambda y, weight=None, **other: DDCLClassifier(**BRIEF, class_weight=weight).fit(X, y, **other)


@pytest.mark.parametrize(("names", "key"), NAMES)
def test_classes_are_weighed_by_name(unweighed, tmp_path, names, key):
    X, index, fit = unweighed
    y = np.array(names)[index]
    lifted = fit(y, {key: 9})
    assert same_bits(lifted, fit(np.array(["a", "b"])[index], {"a": 1.0, "b": 9.0}), X)
    lifted.save(tmp_path / "m")
    loaded = DDCLClassifier.load(tmp_path / "m")
    assert loaded.get_params() == lifted.get_params()
    assert same_bits(loaded, lifted, X)
    assert same_bits(clone(loaded).fit(X, y), lifted, X)
    frame = pd.DataFrame(X, columns=["u", "v"]).assign(OBJECT_TYPE=y)
    assert same_bits(DDCLClassifier(**BRIEF, class_weight={key: 9}).fit(frame), lifted, frame[["u", "v"]])


def test_the_class_that_is_named_is_lifted_and_balanced_is_what_scikit_learn_says(unweighed):
    X, index, fit = unweighed
    y = index + 2  # an index of a class is the name of none
    plain = fit(y)
    share = plain.predict_proba(X)[:, 1].mean()
    assert fit(y, {3: 9}).predict_proba(X)[:, 1].mean() > share + 0.05
    assert fit(y, {2: 9}).predict_proba(X)[:, 1].mean() < share - 0.05
    balanced = dict(zip([2, 3], compute_class_weight("balanced", classes=np.unique(y), y=y), strict=True))
    assert same_bits(fit(y, balanced), fit(y, "balanced"), X)
    assert same_bits(fit(y, {}), plain, X)


def test_weights_of_classes_and_of_rows_multiply(unweighed):
    X, index, fit = unweighed
    row = np.where(np.arange(150) % 2, 2.0, 1.0)
    y = np.array(["DEB", "PAY"])[index]
    both = fit(y, {"PAY": 3}, sample_weight=row)
    assert same_bits(both, fit(y, {"PAY": 3, "DEB": 1}, sample_weight=row), X)
    # Twice a row and a weight of two are the same, whatever its class weighs.
    again = np.repeat(np.arange(150), row.astype(int))
    assert same_bits(both, DDCLClassifier(**BRIEF, class_weight={"PAY": 3}).fit(X[again], y[again]), X)
    # Balanced over rows that weigh: of 1 to 2 by number, made 1 to 1 by weight, and a class without weight counts not.
    even = np.where(index == 1, 2.0, 1.0)
    assert same_bits(fit(y, "balanced", sample_weight=even), fit(y, {"DEB": 1}, sample_weight=even), X)
    assert np.isfinite(fit(y, "balanced", sample_weight=1.0 - index).predict_proba(X)).all()
    assert fit(y, {"PAY": 0}).predict_proba(X)[:, 1].mean() < fit(y).predict_proba(X)[:, 1].mean()


@pytest.mark.parametrize("names", [["DEB", "PAY"], [-7, 3]])
@pytest.mark.parametrize("key", ["PAYLOAD", 5, -1, (1, 2), pd.NA, float("nan"), None])
def test_a_key_of_class_weight_that_is_no_class_is_named(unweighed, names, key):
    _, index, fit = unweighed
    said = rf"its keys \[{re.escape(repr(key))}\] are not among the classes {re.escape(str(names))}"
    with pytest.raises(ConfigurationError, match=said):
        fit(np.array(names)[index], {names[0]: 2, key: 3, names[1]: 1})


def test_class_weights_that_are_no_weights_are_listed(unweighed):
    _, index, fit = unweighed
    y = np.array(["DEB", "PAY"])[index]
    bad = {"DEB": -1, "PAY": np.nan, "a": "3", "b": None, "c": np.inf, "d": 10**400, "e": True, "f": [1]}
    with pytest.raises(ConfigurationError, match="8 parameters break their rules") as caught:
        fit(y, bad)
    for key, value in bad.items():
        assert f"class_weight[{key!r}] must be a number of at least 0, not {value!r}" in str(caught.value)
    for bad in (np.array([1, 2]), pd.Series({"DEB": 2}), "even", [("DEB", 2)]):
        with pytest.raises(ConfigurationError, match="class_weight must be None, 'balanced' or a dict"):
            fit(y, bad)
    with pytest.raises(ConfigurationError, match="gives no row a weight above 0"):
        fit(y, {"DEB": 0, "PAY": 0})


def test_grid_search_chooses_among_class_weights(unweighed):
    X, index, _ = unweighed
    grid = {"class_weight": [{3: 50.0}, {2: 50.0}]}
    search = GridSearchCV(DDCLClassifier(**BRIEF), grid, cv=2, scoring="recall_macro").fit(X, index + 2)
    share = search.best_estimator_.predict(X) == 3
    assert share.mean() == (search.best_params_["class_weight"] == {3: 50.0})  # fifty times decides for all


# --- saving ---------------------------------------------------------------------------------------------------------


def test_save_load_and_pickle_keep_every_bit(fitted, catalog, tmp_path):
    fitted.save(tmp_path / "model.ddcl")
    for other in (DDCLClassifier.load(tmp_path / "model.ddcl"), pickle.loads(pickle.dumps(fitted))):
        assert same_bits(fitted, other, catalog)
        assert other.prototypes_.equals(fitted.prototypes_)
        assert other.get_params() == fitted.get_params()
        assert list(other.predict(catalog)) == list(fitted.predict(catalog))
        assert other.history_ == fitted.history_


def test_saving_twice_gives_the_same_bytes(fitted, tmp_path):
    for name in "ab":
        fitted.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_integer_and_boolean_classes_survive_saving(arrays, tmp_path):
    X, y = arrays
    for labels in (y + 10, y > 0):
        DDCLClassifier(**BRIEF).fit(X, labels).save(tmp_path / "m")
        loaded = DDCLClassifier.load(tmp_path / "m")
        assert loaded.classes_.dtype == labels.dtype
        assert set(loaded.predict(X)) <= set(labels)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "m").write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="not a whole model file"):
        DDCLClassifier.load(tmp_path / "m")


# --- wrong input ----------------------------------------------------------------------------------------------------


def test_all_wrong_parameters_are_reported_at_once(arrays):
    with pytest.raises(ConfigurationError) as caught:
        DDCLClassifier(n_prototypes=1, temperature=1.0, lr=-1, dropout="x").fit(*arrays)
    assert str(caught.value).startswith("4 parameters break their rules")
    assert all(name in str(caught.value) for name in ("n_prototypes", "temperature", "lr must", "dropout"))


def test_head_count_must_divide_the_width(arrays):
    with pytest.raises(ConfigurationError, match=r"d_token must be a multiple of n_heads \(3\), not 16"):
        DDCLClassifier(d_token=16, n_heads=3).fit(*arrays)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.inf, r"'x1' holds an infinite value \(row 4"),
    ],
)
def test_infinite_values_are_named(arrays, bad, message):
    X, y = arrays
    X = X.copy()
    X[4, 1] = bad
    with pytest.raises(InputError, match=message):
        DDCLClassifier(**QUICK).fit(X, y)


def test_diverging_training_is_an_error_that_says_what_to_lower(arrays):
    from ddcl_tab.errors import TrainingError

    X, y = arrays
    with pytest.raises(TrainingError, match="Lower lr"):
        DDCLClassifier(**(QUICK | {"lr": 1e30})).fit(X, y)


def test_odd_tables_work(arrays):
    X, y = arrays
    X = np.column_stack([X, np.zeros(len(y)), np.full(len(y), np.nan), X[:, 0] * 1e30, X[:, 1] * 1e-30, X[:, 0]])
    X[::7, 0] = np.nan
    clf = DDCLClassifier(**QUICK).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert clf.encoder_.empty_ == ["x6"]


def test_more_prototypes_than_rows(arrays):
    X, y = arrays
    clf = DDCLClassifier(**(QUICK | {"n_prototypes": 40, "certify": False})).fit(X[:10], y[:10])
    assert clf.transform(X).shape == (300, 40)


# --- notebooks ------------------------------------------------------------------------------------------------------


def test_a_notebook_shows_what_fit_has_found_and_escapes_names(catalog):
    assert "<caption>Fitted" not in DDCLClassifier()._repr_html_()
    named = catalog.head(300).with_columns(pl.lit("<script>alert(1)</script>").alias("OBJECT_NAME"))
    with pytest.warns(LeakWarning):
        shown = DDCLClassifier(**BRIEF).fit(named)._repr_html_()
    assert "not certified" in shown
    assert "such as 9" in shown  # a synthetic catalog number
    assert "&lt;script&gt;alert" in shown
    assert "<script>alert" not in shown


def test_memberships_come_in_the_frame_that_is_asked_for(fitted, catalog):
    for library, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        frame = clone_fitted(fitted).set_output(transform=library).transform(catalog.head(4))
        assert isinstance(frame, kind)
        assert list(frame.columns) == [f"prototype_{k}" for k in range(8)]


def clone_fitted(clf: DDCLClassifier) -> DDCLClassifier:
    return pickle.loads(pickle.dumps(clf))


def test_a_renamed_or_mistyped_parameter_is_named():
    with pytest.raises(ConfigurationError, match="'teacher_share': it is called augmented_share now"):
        DDCLClassifier(teacher_share=0.5)
    with pytest.raises(ConfigurationError, match=r"no parameter 'n_prototype'\. Did you mean n_prototypes\?"):
        DDCLClassifier(n_prototype=8)
    assert "unknown" not in DDCLClassifier().get_params()
