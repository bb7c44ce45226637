"""A classifier with family columns: what it counts, keeps, asks for, and says of rows alone and together."""

from __future__ import annotations

import warnings
from datetime import date

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from optuna.distributions import FloatDistribution
from sklearn.base import clone

from ddcl_tab import DDCLClassifier
from ddcl_tab._files import read_model, write_model
from ddcl_tab.app._catalog import classify_catalog
from ddcl_tab.app._train import train_catalog
from ddcl_tab.cli import main
from ddcl_tab.errors import (
    ConfigurationError,
    FamilyContextWarning,
    InputError,
    LeakWarning,
    ModelFileError,
    StabilityWarning,
)
from ddcl_tab.estimators import DDCLHistoryClassifier
from ddcl_tab.interpret import ConformalSets, NoveltyScore, out_of_fold, prototype_cards
from ddcl_tab.space import (
    FAMILY_COLUMNS,
    FAMILY_COUNTS,
    counterfactuals,
    family_columns,
    launch_of,
    synthetic_catalog,
    write_satcat,
)
from ddcl_tab.space._families import CELLS, Families
from ddcl_tab.tuning import DDCLSearchCV

NAMES = [column.name for column in FAMILY_COLUMNS]
SMALL = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 3, "augmented_share": 0.0}
SETTINGS = SMALL | {"certify": False, "random_state": 0}

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{one.__module__}.{one.__name__}") for one in (LeakWarning, StabilityWarning)
]


@pytest.fixture(scope="module")
def rows(synthetic) -> pl.DataFrame:
    """Objects of many launches, some decayed, some of unknown class, some without designator."""
    sample = synthetic.sample(700, seed=1)
    gone = pl.col("LAUNCH") + pl.duration(days=pl.col("NORAD_CAT_ID").cast(pl.Int64) % 900)
    return sample.with_columns(
        DECAY=pl.when(pl.col("NORAD_CAT_ID") % 8 == 0).then(gone).cast(pl.Date),
        OBJECT_ID=pl.when(pl.col("NORAD_CAT_ID") % 31 > 0).then("OBJECT_ID"),
        OBJECT_TYPE=pl.when(pl.col("NORAD_CAT_ID") % 5 == 0).then(pl.lit("UNKNOWN")).otherwise("OBJECT_TYPE"),
    )


@pytest.fixture(scope="module")
def fitted(rows) -> DDCLClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DDCLClassifier(family="auto", **SETTINGS).fit(rows)


def family_part(clf: DDCLClassifier, X, catalog=None) -> np.ndarray:
    """Family columns that the classifier gives rows, shape (n, 18)."""
    return pl.DataFrame(clf._features_of(X, catalog)).select(NAMES).to_numpy()


def columns_of(frame: pl.DataFrame) -> np.ndarray:
    """The same by `family_columns`."""
    return family_columns(frame).fill_null(np.nan).to_numpy()


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=True)


# Fit


def test_all_rows_are_counted_and_columns_are_features_like_any_other(rows, fitted):
    assert equal(family_part(fitted, rows), columns_of(rows))
    assert len(fitted.families_.counted) == len(rows)
    assert fitted.n_unlabelled_ > 100
    assert set(NAMES) <= set(fitted.feature_names_in_)
    assert not {"OBJECT_ID", "NORAD_CAT_ID", "DECAY", "LAUNCH"} & set(fitted.feature_names_in_)
    units = {scale.name: scale.unit for scale in fitted.encoder_.numeric_}
    assert units["FAMILY_SEMIMAJOR_AXIS_DEVIATION"] == "km"
    said = fitted.explain(rows[:5]).filter(pl.col("column") == "FAMILY_SEMIMAJOR_AXIS_DEVIATION")
    assert said["row"].to_list() == list(range(5))
    assert set(said.filter(pl.col("value") != "missing")["unit"]) == {"km"}
    named = set(fitted.prototypes_.select(r"^column_\d$").unpivot()["value"].drop_nulls())
    assert named & set(NAMES)
    assert named <= set(fitted.feature_names_in_)


def test_pandas_labels_apart_and_a_catalog_that_holds_more(rows, fitted):
    frame = rows.to_pandas().set_index(np.arange(len(rows))[::-1])
    again = DDCLClassifier(family="auto", **SETTINGS).fit(frame)
    np.testing.assert_array_equal(again.predict_proba(frame), fitted.predict_proba(rows))
    known = rows.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    apart = DDCLClassifier(family="auto", **SETTINGS).fit_with_checkpoint(
        known.drop("OBJECT_TYPE"), known["OBJECT_TYPE"], catalog=rows
    )
    np.testing.assert_array_equal(apart.predict_proba(rows), fitted.predict_proba(rows))
    alone = DDCLClassifier(family="auto", **SETTINGS).fit(known.drop("OBJECT_TYPE"), known["OBJECT_TYPE"])
    assert len(alone.families_.counted) == len(known)


def test_without_families_nothing_changes(rows):
    plain = DDCLClassifier(family=None, **SETTINGS).fit(rows)
    assert plain.families_ is None
    assert not set(NAMES) & set(plain.feature_names_in_)
    few = rows.select("PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "OBJECT_TYPE")
    auto, none = (DDCLClassifier(family=family, **SETTINGS).fit(few) for family in ("auto", None))
    assert auto.families_ is None
    np.testing.assert_array_equal(auto.predict_proba(few), none.predict_proba(few))
    array = DDCLClassifier(family="auto", **SETTINGS).fit(np.eye(40), [0, 1] * 20)
    assert array.families_ is None
    with pytest.raises(ConfigurationError, match="fitted without them"):
        plain.predict(rows, catalog=rows)


def test_no_family_column_is_made_of_classes(rows):
    """Sizes of siblings are labels where the size is the class."""
    clf = DDCLClassifier(target="RCS_SIZE", **SETTINGS | {"max_epochs": 1}).fit(rows)
    assert clf.families_ is None
    assert len(clf.predict(rows.drop("RCS_SIZE"))) == len(rows)


def test_a_search_is_quiet_about_launches_of_which_a_fold_knows_nothing(rows):
    sound = {"temperature": 0.3, "lr": 0.02, "lr_ratio": 60.0, "max_epochs": 8, "d_token": 8, "augmented_share": 0.0}
    fixed = dict.fromkeys(["n_prototypes", "lr_ratio", "temperature", "quantization_weight", "n_blocks", "d_token"])
    search = DDCLSearchCV(
        DDCLClassifier(n_prototypes=6, n_heads=2, n_blocks=1, random_state=0, **sound),
        n_trials=1,
        cv=2,
        storage=None,
        space=fixed | {"lr": FloatDistribution(0.019, 0.021)},
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", FamilyContextWarning)
        search.fit(rows)
    assert len(search.best_estimator_.families_.counted) == (rows["OBJECT_TYPE"] != "UNKNOWN").sum()


def test_counts_come_in_by_a_setting(rows, fitted, tmp_path):
    names = [column.name for column in FAMILY_COUNTS]
    assert not set(names) & set(fitted.feature_names_in_)
    clf = DDCLClassifier(family_counts=True, **SETTINGS | {"max_epochs": 1}).fit(rows)
    assert list(clf.feature_names_in_[-21:]) == NAMES + names
    found = pl.DataFrame(clf._features_of(rows[:90])).select(names).to_numpy()
    assert equal(found, family_columns(rows, counts=True).select(names)[:90].fill_null(np.nan).to_numpy())
    assert clf.domain_.units["FAMILY_SIBLINGS"] == ""
    clf.save(tmp_path / "a.ddcl")
    again = DDCLClassifier.load(tmp_path / "a.ddcl")
    np.testing.assert_array_equal(again.predict_proba(rows), clf.predict_proba(rows))
    assert again.family_counts is True
    state, weights, _ = read_model(tmp_path / "a.ddcl")
    del state["parameters"]["family_counts"]
    write_model(tmp_path / "a.ddcl", state, weights)
    with pytest.raises(ModelFileError, match=r"state\.parameters lacks 'family_counts'"):
        DDCLClassifier.load(tmp_path / "a.ddcl")


def test_catalogs_stand_in_for_the_one_of_fit_wherever_rows_are_read(rows):
    clf = DDCLClassifier(**SETTINGS | {"max_epochs": 1}).fit(rows[:500])
    new = rows[500:].filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FamilyContextWarning)  # the catalog knows who is alone
        q = clf.transform(new, catalog=rows)
        said = clf.decide(new, catalog=rows)
        (probability, memberships), reasons = said.prediction, said.sentences()
        explained = clf.explain(new, catalog=rows)
        score = clf.score(new, new["OBJECT_TYPE"], catalog=rows)
    np.testing.assert_array_equal(memberships, q)
    np.testing.assert_array_equal(probability, clf.predict_proba(new, catalog=rows))
    assert explained.filter(pl.col("rank") == 1)["prediction"].to_list() == clf.predict(new, catalog=rows).tolist()
    assert len(reasons) == len(new)
    assert score == np.mean(clf.predict(new, catalog=rows) == new["OBJECT_TYPE"].to_numpy())


def test_out_of_fold_counts_the_whole_table(rows, monkeypatch):
    """Siblings of unknown class are siblings, and nobody is asked for a table that is there."""
    seen = []
    decide = DDCLClassifier.decide
    monkeypatch.setattr(
        DDCLClassifier, "decide", lambda clf, *given, **named: seen.append(clf) or decide(clf, *given, **named)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", FamilyContextWarning)
        judged = out_of_fold(DDCLClassifier(**SETTINGS | {"max_epochs": 1}), rows, n_folds=2)
    assert np.isfinite(judged.probability[judged.fold >= 0]).all()
    assert [len(clf.families_.counted) for clf in seen] == [len(rows)] * 2


def test_histories_have_families(rows):
    """Each object counts once, however many epochs and thinned copies of it there are."""
    long = pl.concat([rows, rows]).with_columns(
        EPOCH=pl.Series([date(2024, 1, 1)] * len(rows) + [date(2025, 1, 1)] * len(rows))
    )
    clf = DDCLHistoryClassifier(DDCLClassifier(**SETTINGS | {"max_epochs": 1}))
    clf.fit(long, id="NORAD_CAT_ID", time="EPOCH")
    inner = clf.classifier_
    assert len(inner.families_.counted) == len(rows)
    wide = clf.wide(long)
    assert equal(family_part(inner, wide), columns_of(rows.sort("NORAD_CAT_ID")))
    assert len(clf.predict(long[:40])) == 40


def test_no_label_name_piece_or_number_reaches_a_family_column(rows, fitted):
    random = np.random.default_rng(3)
    pieces = pl.Series([chr(65 + i % 26) for i in range(len(rows))])
    other = rows.with_columns(
        OBJECT_TYPE=rows["OBJECT_TYPE"].sample(fraction=1.0, shuffle=True, seed=4),
        OBJECT_NAME=pl.Series([f"X{i}" for i in random.permutation(len(rows))]),
        OBJECT_ID=pl.col("OBJECT_ID").str.slice(0, 8) + pieces,
        NORAD_CAT_ID=10**11 - 7 * pl.col("NORAD_CAT_ID").cast(pl.Int64),
    )
    clf = DDCLClassifier(family="auto", **SETTINGS | {"max_epochs": 1}).fit(other)
    assert equal(family_part(clf, other), family_part(fitted, rows))
    ours, theirs = fitted.families_.to_arrays(), clf.families_.to_arrays()
    for name in ("launches", "cells", "decayed"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_parameter_is_checked_cloned_and_the_same_seed_gives_the_same_bits(rows, fitted):
    assert clone(fitted).get_params()["family"] == DDCLClassifier().family == "auto"
    again = clone(fitted).fit(rows)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))
    with pytest.raises(ConfigurationError, match=r"family='launch' is no column of the frame\. Did you mean LAUNCH\?"):
        DDCLClassifier(family="launch").fit(rows)


# Predict


def test_a_part_is_answered_as_within_the_whole(rows, fitted):
    unknown = (rows["OBJECT_TYPE"] == "UNKNOWN").to_numpy()
    whole, part = rows.to_pandas(), rows.filter(unknown)
    for X in (part, whole[unknown]):
        assert equal(family_part(fitted, X), family_part(fitted, rows)[unknown])
        np.testing.assert_array_equal(fitted.predict(X), fitted.predict(rows)[unknown])
        np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_proba(rows)[unknown], atol=1e-6)
        np.testing.assert_allclose(fitted.transform(X), fitted.transform(rows)[unknown], atol=1e-6)
    alone, together = fitted.decide(part, examples=rows), fitted.decide(rows, examples=rows)
    assert alone.sentences() == together.take(np.flatnonzero(unknown)).sentences()
    assert fitted.explain(part)["row"].n_unique() == unknown.sum()


def test_rows_that_were_not_counted_join_their_launch_for_the_call(rows):
    known, new = rows[:500], rows[500:]
    clf = DDCLClassifier(family="auto", **SETTINGS | {"max_epochs": 1}).fit(known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FamilyContextWarning)
        assert equal(family_part(clf, new), columns_of(rows)[500:])
        assert len(clf.families_.counted) == 500
        # Another catalog stands in the place of the one of fit.
        assert equal(family_part(clf, new, new), columns_of(new))
        assert not np.array_equal(clf.predict_proba(new), clf.predict_proba(new, catalog=new))
        np.testing.assert_array_equal(clf.predict(new, catalog=rows), clf.predict(new))


def test_launches_that_nobody_knows_give_one_warning(rows, fitted):
    new = rows[:3].with_columns(
        OBJECT_ID=pl.Series(["2099-001A", "2099-002A", "2099-002B"]), NORAD_CAT_ID=pl.Series([1, 2, 3])
    )
    for ask in (fitted.predict, fitted.predict_proba, fitted.transform, fitted.explain, fitted.decide):
        with pytest.warns(FamilyContextWarning, match=r"^1 of 3 rows belong to families") as caught:
            ask(new)
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", FamilyContextWarning)
        fitted.predict(rows)
        fitted.predict(new, catalog=new)  # a catalog that holds them knows that they are alone


def test_missing_columns_are_named_and_odd_ones_are_our_error(rows, fitted):
    with pytest.raises(InputError, match="families need the columns DECAY, LAUNCH, which the frame lacks"):
        fitted.predict(rows.drop("LAUNCH", "DECAY"))
    with pytest.raises(InputError, match="the frame lacks"):
        fitted.predict(rows, catalog=rows.drop("RCS_SIZE"))
    with pytest.raises(InputError, match="hand over a frame"):
        fitted.predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="a column of the catalog is not what it should be"):
        fitted.predict(rows.with_columns(DECAY=pl.lit("soon")))


def test_an_object_that_has_changed_since_it_was_counted(rows, fitted):
    """It decayed, stands there twice, or has its designator now: shares stay shares."""
    later = rows.with_columns(DECAY=pl.lit(None).cast(pl.Date))
    gone = rows.with_columns(DECAY=pl.col("LAUNCH") + pl.duration(days=100))
    for frame in (later, gone):
        found = family_part(fitted, frame)
        for name in (name for name in NAMES if name.endswith("_SHARE")):
            shares = found[:, NAMES.index(name)]
            assert ((shares >= 0.0) & (shares <= 1.0) | np.isnan(shares)).all(), name
    assert family_columns(pl.concat([rows, rows]))[: len(rows)].equals(family_columns(rows))
    without = rows.with_columns(OBJECT_ID=pl.lit(None, pl.String))
    assert Families.count(without).columns(rows).equals(family_columns(rows))


# Model file


def test_families_come_back_to_the_bit(rows, fitted, tmp_path):
    fitted.save(tmp_path / "a.ddcl")
    again = DDCLClassifier.load(tmp_path / "a.ddcl")
    for name, array in fitted.families_.to_arrays().items():
        np.testing.assert_array_equal(again.families_.to_arrays()[name], array)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))
    again.save(tmp_path / "b.ddcl")
    assert (tmp_path / "b.ddcl").read_bytes() == (tmp_path / "a.ddcl").read_bytes()
    nothing = Families.count(rows.clear())
    assert len(Families.from_arrays(nothing.to_arrays()).launches) == 0


def test_what_the_file_holds_of_a_row_is_its_launch_and_cell(rows, fitted, tmp_path):
    fitted.save(tmp_path / "a.ddcl")
    arrays = {name: array for name, array in read_model(tmp_path / "a.ddcl").weights.items() if "families" in name}
    assert len(arrays) == 4
    content = b"".join(array.tobytes() for array in arrays.values())
    for name, number in rows.select("OBJECT_NAME", "NORAD_CAT_ID").rows():
        assert name.encode() not in content
        assert str(number).encode() not in content
    assert not np.isin(arrays["families.counted"], rows["NORAD_CAT_ID"].cast(pl.UInt64).to_numpy()).any()
    known = {launch for launch in launch_of(rows) if not launch.startswith("NORAD")}
    assert set(fitted.families_.launches.tolist()) == known | {""}
    assert all(array.dtype.kind in "iu" for array in arrays.values())
    for place, (name, width) in enumerate(CELLS.items(), start=1):
        cells = arrays["families.cells"][:, place]
        assert set(cells[cells >= 0] * width) <= set(np.floor(rows[name].drop_nulls().to_numpy() / width) * width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, s: a["families.cells"].__setitem__((0, 5), -3), "cells hold objects"),
        (lambda a, s: a["families.cells"].__setitem__((0, 0), 10**6), "cells are of those launches"),
        (lambda a, s: a["families.cells"].__setitem__((1, 1), 2**60), "cells are in range"),
        (lambda a, s: a.update({"families.cells": a["families.cells"][::-1]}), "cells are different and sorted"),
        (lambda a, s: a.update({"families.cells": a["families.cells"][:, :4]}), "cells of the families must be int64"),
        (lambda a, s: a.update({"families.decayed": a["families.decayed"][1:]}), "a row of decayed objects for each"),
        (lambda a, s: a["families.decayed"].__setitem__((0, 3), 99), "decayed objects are counts"),
        (lambda a, s: a.update({"families.counted": a["families.counted"][::-1]}), "hashes are different and sorted"),
        (lambda a, s: a["families.launches"].fill(255), "can't decode"),
        (lambda a, s: a["families.launches"].fill(65), "launches are different and sorted"),
        (lambda a, s: a.pop("families.decayed"), "not cells, counted, launches"),
        (lambda a, s: a.update({"families.more": a["families.cells"]}), "not cells, counted, decayed, launches, more"),
        (lambda a, s: s["parameters"].update(family=None), "the state describes a model without"),
    ],
)
def test_altered_families_are_our_error(fitted, tmp_path, change, message):
    fitted.save(tmp_path / "a.ddcl")
    state, weights, _ = read_model(tmp_path / "a.ddcl")
    weights = {name: array.copy() for name, array in weights.items()}
    change(weights, state)
    write_model(tmp_path / "a.ddcl", state, weights)
    with pytest.raises(ModelFileError, match=message):
        DDCLClassifier.load(tmp_path / "a.ddcl")


# Explanations


def test_explanations_see_the_columns(rows, fitted):
    cards = prototype_cards(fitted, rows)
    assert len(cards) == 6
    table = fitted.explain(rows[:2])
    assert set(NAMES) - set(fitted.encoder_.empty_) <= set(table["column"])
    assert ConformalSets(fitted, level=0.5).fit(rows).predict_set(rows[:4]).shape == (4, 3)
    score = NoveltyScore(fitted).fit(rows)
    np.testing.assert_allclose(score.novelty(rows[:5]), score.novelty(rows)[:5])


def test_a_moved_object_keeps_its_siblings(rows):
    """What its columns are elsewhere is what they would be had it been counted there."""
    families = Families.count(rows)
    depend = None
    for i in np.flatnonzero(rows["SEMIMAJOR_AXIS"].is_not_null() & rows["OBJECT_ID"].is_not_null())[:40]:
        near = rows[int(i - 1) if i else 1]
        orbits = {
            name: np.array([rows[name][int(i)], near[name][0], 7000.0 if "AXIS" in name else 0.5]) for name in CELLS
        }
        found = families.moved(rows[int(i) : int(i) + 1], orbits)
        for m in range(3):
            place = pl.int_range(len(rows)) == int(i)
            there = rows.with_columns(
                pl.when(place).then(pl.lit(values[m])).otherwise(name).alias(name) for name, values in orbits.items()
            )
            depend = found.columns
            assert found[m : m + 1].equals(family_columns(there)[int(i) : int(i) + 1].select(depend)), (i, m)
    assert len(depend) == 5


def test_counterfactuals_move_the_family_columns(rows, fitted):
    found = counterfactuals(fitted, rows[:4])
    assert len(found) == 4
    for row in found.drop_nulls("becomes").to_dicts():
        assert row["becomes"] != row["prediction"]
        assert row["delta_v"] > 0.0


# Commands


def test_commands_count_the_whole_catalog(tmp_path):
    write_satcat(synthetic_catalog(n_rows=900, random_state=5), tmp_path / "a.csv")
    (tmp_path / "a.toml").write_text("".join(f"{k} = {v}\n" for k, v in SMALL.items()))

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        assert "no other member is known" not in done.output
        return done.output

    run("train", tmp_path / "a.csv", "--config", tmp_path / "a.toml", "--out", tmp_path / "run")
    model = tmp_path / "run" / "model.ddcl"
    clf = DDCLClassifier.load(model)
    assert clf.family == "auto"
    assert len(clf.families_.counted) == 900
    tables = {}
    for name, only in {"all": (), "part": ("--only", "UNKNOWN")}.items():
        run("classify", model, tmp_path / "a.csv", *only, "--out", tmp_path / f"{name}.csv")
        tables[name] = pl.read_csv(tmp_path / f"{name}.csv", infer_schema=False)
    assert tables["part"].equals(tables["all"].filter(pl.col("recorded") == "UNKNOWN"))
    assert 0 < len(tables["part"]) < 900
    run("report", model, tmp_path / "a.csv", "--out", tmp_path / "report.html")


def test_only_sees_siblings_of_other_classes_that_the_model_never_saw(rows, fitted):
    new = rows.with_columns(
        OBJECT_ID="3" + pl.col("OBJECT_ID").str.slice(1), NORAD_CAT_ID=pl.col("NORAD_CAT_ID").cast(pl.Int64) + 10**6
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FamilyContextWarning)
        whole, part = (classify_catalog(fitted, new, only) for only in (None, "UNKNOWN"))
    assert part.equals(whole.filter(pl.col("recorded") == "UNKNOWN"))


def test_peers_of_train_get_the_same_columns(rows, monkeypatch):
    seen = []
    from ddcl_tab.app import _train

    peer_frame = _train.peer_frame
    monkeypatch.setattr(
        _train, "peer_frame", lambda frame, names, train: seen.append(names) or peer_frame(frame, names, train)
    )
    run = train_catalog(
        rows, target="OBJECT_TYPE", split="launch", seed=0, settings=SETTINGS | {"family": "auto"}, verbose=0
    )
    assert seen == [run.classifier.encoder_.feature_names_]
    assert set(NAMES) - set(run.classifier.encoder_.empty_) <= set(seen[0])
    assert set(run.metrics["peers"]) == {"majority class", "logistic regression", "HistGradientBoosting"}
