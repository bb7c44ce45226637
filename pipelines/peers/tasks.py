"""What the models compete on: rows, columns and folds, the same for all of them."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ddcl_tab.app._catalog import has_known_class
from ddcl_tab.app._evaluation import N_FOLDS, split_catalog
from ddcl_tab.errors import LeakWarning
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.space import FAMILY_COLUMNS, FAMILY_COUNTS
from ddcl_tab.space._domain import SPACE
from ddcl_tab.space._join import launch_of

#: Columns about the siblings of a launch, which a catalog has after :func:`ddcl_tab.space.family_columns`.
FAMILY = tuple(column.name for column in FAMILY_COLUMNS)
#: How many siblings there are, which `family_columns` says where it is asked to.
COUNTS = tuple(column.name for column in FAMILY_COUNTS)
#: Columns of the launch itself.
_OF_LAUNCH = ("COUNTRY", "SITE", "LAUNCH_YEAR")
#: Columns about the launch: the same for every piece of a cloud, or nearly so; they would say its parent outright.
LAUNCH_COLUMNS = (*_OF_LAUNCH, *FAMILY, *COUNTS)
#: Columns that are no orbit; what stays is the shape of the orbit, its inclination, and how drag changes it.
NO_ORBIT = (*_OF_LAUNCH, "RCS_SIZE")
#: Family columns that are not made from orbits of siblings in orbit.
FAMILY_NO_ORBIT = tuple(
    name for name in FAMILY if name.endswith(("SMALL_SHARE", "MEDIUM_SHARE", "LARGE_SHARE")) or "DECAYED" in name
)
#: The parent clouds to tell apart: the launches with the most debris.
N_CLOUDS = 12
#: Fragments of a cloud are shared out into this many random folds.
N_CLOUD_FOLDS = 3
#: Share of a cloud, by catalog number, that trains in ``cloud-time``.
EARLY_SHARE = 0.7
#: Names of objects that are counted apart: two constellations hold most payloads. Names are never features.
CONSTELLATIONS = ("STARLINK", "ONEWEB")


class Task(NamedTuple):
    """A question put to a catalog.

    Attributes
    ----------
    title : str
    split : {"launch", "time", "random", "catalogued"}
        How rows are held out.
    cloud : bool
        The class is the launch that a fragment comes from, else OBJECT_TYPE.
    left_out : tuple of str
        Columns that this task withholds from every model.
    hidden : bool
        RCS_SIZE is hidden in :data:`HIDDEN_SHARE` of the test rows: what is catalogued first gets its size later.
    copies : bool
        Models train on every row twice, the second time without RCS_SIZE.
    """

    title: str
    split: str
    cloud: bool
    left_out: tuple[str, ...]
    hidden: bool = False
    copies: bool = False


#: The column that newly catalogued objects lack, and the share of the test rows that lack it in the hidden forms.
LATE, HIDDEN_SHARE = "RCS_SIZE", 0.4


def _hidden_forms(name: str, task: Task) -> dict[str, Task]:
    title = f"{task.title}; {LATE} hidden in {100 * HIDDEN_SHARE:.0f} % of the test rows"
    return {
        f"{name}-hidden": task._replace(title=title, hidden=True),
        f"{name}-hidden-copies": task._replace(
            title=f"{title}, trained on copies without it too", hidden=True, copies=True
        ),
    }


TASKS = {
    "object": Task("object class, by launch", "launch", False, FAMILY),
    "object-family": Task("object class with family columns, by launch", "launch", False, ()),
    "object-time": Task("object class, launched before 2015 / from 2015", "time", False, FAMILY),
    "object-time-family": Task("object class with family columns, launched before 2015 / from 2015", "time", False, ()),
    "orbit": Task("object class from the orbit alone, by launch", "launch", False, (*NO_ORBIT, *FAMILY)),
    "orbit-family": Task(
        "object class from its orbit and those of its family, by launch", "launch", False, (*NO_ORBIT, *FAMILY_NO_ORBIT)
    ),
    "cloud": Task("parent cloud of a fragment, random folds", "random", True, LAUNCH_COLUMNS),
    "cloud-time": Task("parent cloud, first 70 % catalogued / the rest", "catalogued", True, LAUNCH_COLUMNS),
}
for _name in ("object", "object-time", "cloud"):
    TASKS |= _hidden_forms(_name, TASKS[_name])


class Fold(NamedTuple):
    """One training and test part, columns that may be learned from only.

    Attributes
    ----------
    task : str
    number : int
        Fold, and seed of every model on it.
    X_train, X_test : polars.DataFrame
    y_train, y_test : ndarray of str
    groups : ndarray of str or None
        Launches of the training rows, which stay together in a validation split; None where the launch is the class.
    ordinary : ndarray of bool, shape (n_test,)
        Test rows that belong to neither Starlink nor OneWeb.
    unit : ndarray of str, shape (n_test,)
        What a bootstrap draws as a whole: the launch, or where that is the class the object.
    """

    task: str
    number: int
    X_train: pl.DataFrame
    y_train: NDArray[Any]
    groups: NDArray[Any] | None
    X_test: pl.DataFrame
    y_test: NDArray[Any]
    ordinary: NDArray[np.bool_]
    unit: NDArray[Any]


def hide_late(X: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows of which :data:`HIDDEN_SHARE`, drawn at random, lack the late column."""
    hidden = np.random.default_rng(seed).random(len(X)) < HIDDEN_SHARE
    return X.with_columns(pl.when(~pl.Series(hidden)).then(pl.col(LATE)))


def n_folds(task: str, n_seeds: int) -> int:
    """Folds of a task: one a seed, as many as its split has."""
    return min(n_seeds, {"launch": N_FOLDS, "random": N_CLOUD_FOLDS}.get(TASKS[task].split, n_seeds))


def make_fold(catalog: pl.DataFrame, name: str, number: int) -> Fold:
    """One fold of a task.

    Parameters
    ----------
    catalog : polars.DataFrame
        As :func:`ddcl_tab.app._catalog.load_catalog` returns it, with the columns :data:`FAMILY` for tasks that see
        them.
    name : str
        Of :data:`TASKS`.
    number : int
        Fold; the splits of ``object-time`` and ``cloud-time`` are the same for every number, only the models' seed
        differs.

    Returns
    -------
    Fold
    """
    task = TASKS[name]
    frame = _fragments(catalog) if task.cloud else _typed(catalog)
    launch = launch_of(frame).to_numpy()
    y = launch if task.cloud else frame["OBJECT_TYPE"].to_numpy()
    train, test = _split(frame, y, launch, task.split, number)
    features = frame.select(_columns(frame[train], task.left_out))
    names = frame["OBJECT_NAME"].fill_null("")[test].str.to_uppercase()
    ordinary = ~names.str.contains_any(list(CONSTELLATIONS)).to_numpy()
    X_train, X_test, y_train = features[train], features[test], y[train]
    groups = None if task.cloud else launch[train]
    if task.hidden:
        X_test = hide_late(X_test, number)
    if task.copies:
        X_train = pl.concat([X_train, X_train.with_columns(pl.lit(None, X_train.schema[LATE]).alias(LATE))])
        y_train = np.tile(y_train, 2)
        # A row and its copy are no independent evidence: where launches do not say what belongs together, rows do.
        groups = np.tile(np.arange(len(train)) if groups is None else groups, 2)
    unit = (frame["NORAD_CAT_ID"].to_numpy() if task.cloud else launch)[test].astype(str)
    return Fold(name, number, X_train, y_train, groups, X_test, y[test], ordinary, unit)


def _typed(catalog: pl.DataFrame) -> pl.DataFrame:
    return catalog.filter(has_known_class(catalog, "OBJECT_TYPE"))


def _fragments(catalog: pl.DataFrame) -> pl.DataFrame:
    debris = catalog.filter(pl.col("OBJECT_TYPE") == "DEBRIS")
    launch = launch_of(debris).alias("launch")
    size = launch.value_counts().sort("count", "launch", descending=[True, False])
    return debris.filter(launch.is_in(size["launch"].head(N_CLOUDS).to_list()))


def _columns(train: pl.DataFrame, left_out: tuple[str, ...]) -> list[str]:
    """What :class:`DDCLClassifier` would learn from, less what the task withholds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # they are left out, as it says
        names = SPACE.features_among([name for name in train.columns if name not in ("OBJECT_TYPE", *left_out)])
    return TableEncoder(columns=names).fit(train).feature_names_


def _split(
    frame: pl.DataFrame, y: NDArray[Any], launch: NDArray[Any], kind: str, number: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows = np.zeros((len(y), 1))
    if kind == "time":
        parts = split_catalog(frame, "OBJECT_TYPE", "time", seed=number)
        return parts.train, parts.test
    if kind == "catalogued":
        early = _share_before(frame["NORAD_CAT_ID"].cast(pl.Int64).to_numpy(), y) < EARLY_SHARE
        return np.flatnonzero(early), np.flatnonzero(~early)
    if kind == "random":
        return list(StratifiedKFold(N_CLOUD_FOLDS, shuffle=True, random_state=0).split(rows, y))[number]
    return list(StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(rows, y, launch))[number]


def _share_before(catalogued: NDArray[np.int64], cloud: NDArray[Any]) -> NDArray[np.float64]:
    """Share of its own cloud that was catalogued before each object."""
    share = np.empty(len(cloud))
    for name in np.unique(cloud):
        rows = np.flatnonzero(cloud == name)
        share[rows] = np.argsort(np.argsort(catalogued[rows])) / len(rows)
    return share
