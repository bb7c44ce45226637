"""Train on a catalog and write down how good the result is."""

from __future__ import annotations

import difflib
import json
import platform
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._files import remove_leftovers, write_whole
from ddcl_tab.app._evaluation import Split, make_peers, peer_table, score, split_catalog
from ddcl_tab.app._output import rounded_shares, with_rounded_shares, without_empty_columns, write_table
from ddcl_tab.errors import CatalogError, ConfigurationError, InputError, LeakWarning
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import refuse_parameters
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._join import FROM_ELSETS, join_elsets, launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import UNKNOWN
from ddcl_tab.space._text import text_chunks
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._checkpoint import CheckpointFile

MODEL_FILE, METRICS_FILE, PROTOTYPES_FILE = "model.ddcl", "metrics.json", "prototypes.csv"
HELD_OUT_FILE, CHECKPOINT_FILE = "held_out.csv", "checkpoint.ddcl"
RUN_FILES = (MODEL_FILE, METRICS_FILE, PROTOTYPES_FILE, HELD_OUT_FILE)


class TrainingRun(NamedTuple):
    """Result of :func:`train_catalog`.

    Attributes
    ----------
    classifier : DDCLClassifier
    metrics : dict
    held_out : polars.DataFrame
        See :func:`held_out_table`.
    """

    classifier: DDCLClassifier
    metrics: dict[str, Any]
    held_out: pl.DataFrame


def load_catalog(catalog: Path, elsets: Path | None) -> pl.DataFrame:
    """Read a catalog, with the newest element set of each object where a file of them is given.

    Raises
    ------
    CatalogError
        A file cannot be read.
    InputError
        One of the files is what the other should be.
    """
    try:
        frame = read_satcat(catalog)
    except CatalogError as error:
        if not _is_read_by(read_gp, catalog):
            raise
        raise InputError(
            f"{catalog}: these are element sets, not a SATCAT: pass it as --elsets, and a SATCAT as CATALOG"
        ) from error
    if elsets is None:
        return frame
    try:
        return join_elsets(frame, read_gp(elsets))
    except CatalogError as error:
        if not _is_read_by(read_satcat, elsets):
            raise
        raise InputError(
            f"{elsets}: this is a SATCAT, not element sets: pass it as CATALOG, and OMM or TLE as --elsets"
        ) from error


def load_catalog_for(clf: DDCLClassifier, catalog: Path, elsets: Path | None) -> pl.DataFrame:
    """As :func:`load_catalog`, with the columns that a fitted classifier asks for.

    Raises
    ------
    InputError
        It learned from element sets, and none are given.
    """
    frame = load_catalog(catalog, elsets)
    missing = [name for name in clf.encoder_.columns_ if name in FROM_ELSETS and name not in frame.columns]
    if missing:
        raise InputError(
            f"this model was trained with element sets: add --elsets FILE ({', '.join(missing)} come from there)"
        )
    return frame


def _is_read_by(reader: Callable[..., Any], file: Path) -> bool:
    """Whether a file is of the form that a reader of catalogs reads, with or without rows that break rules."""
    try:
        reader(file, on_error="collect")
    except CatalogError:
        return False
    return True


def require_target(frame: pl.DataFrame, target: str) -> None:
    """Raise the error that a catalog lacks the column of the classes.

    Raises
    ------
    InputError
        Names the columns that are there.
    """
    if target not in frame.columns:
        there = ", ".join(frame.columns)
        raise InputError(f"the catalog has no column {target!r}; it has {there}{did_you_mean(target, frame.columns)}")


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """A question after a name that the user typed and nobody knows; nothing where no known name is near.

    Examples
    --------
    >>> did_you_mean("object_typ", ["OBJECT_ID", "OBJECT_TYPE"]), did_you_mean("x", ["OBJECT_ID"])
    ('. Did you mean OBJECT_TYPE?', '')
    """
    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(typed.casefold(), names, n=1)
    return f". Did you mean {names[near[0]]}?" if near else ""


def is_synthetic(frame: pl.DataFrame) -> bool:
    """Whether ``ddcl-tab synth`` made any row of the catalog."""
    return bool("COMMENT" in frame.columns and frame["COMMENT"].str.starts_with("SYNTHETIC").any())


def open_checkpoint(out: Path, *, resume: bool) -> tuple[CheckpointFile, str]:
    """Open the checkpoint of a folder of results.

    Returns
    -------
    file : CheckpointFile
    note : str
        What to tell the user about it, or nothing.

    Raises
    ------
    CheckpointError
        ``resume`` and the file there is no whole checkpoint.
    """
    path = out / CHECKPOINT_FILE
    file = CheckpointFile(path, resume=resume)
    if resume:
        return file, f"{path}: goes on after epoch {file.epoch}" if file.epoch else f"{path} is not there: begins anew"
    if path.exists():
        return file, f"{path}, left by a training that was stopped, is replaced; --resume would go on with it"
    return file, ""


def read_config(path: Path | None) -> dict[str, Any]:
    """Parameters of :class:`DDCLClassifier` from a TOML file.

    Raises
    ------
    ConfigurationError
        The file is no TOML or names a parameter that does not exist.
    """
    if path is None:
        return {}
    try:
        settings = tomllib.loads("".join(text_chunks(path)))  # editors write UTF-16 and byte-order marks too
    except (tomllib.TOMLDecodeError, CatalogError) as error:
        raise ConfigurationError(f"{path}: not a TOML file ({error})") from error
    known = DDCLClassifier().get_params()
    refuse_parameters([name for name in settings if name not in known], f"{path}: DDCLClassifier")
    return settings


def train_catalog(
    frame: pl.DataFrame,
    *,
    target: str,
    split: str,
    seed: int,
    settings: dict[str, Any],
    verbose: int,
    checkpoint: CheckpointFile | None = None,
) -> TrainingRun:
    """Split, fit, and score beside the peers on the same rows and columns.

    Parameters
    ----------
    frame : polars.DataFrame
        As :func:`load_catalog` returns it.
    target : str
        Column of the classes; rows without a known class take no part.
    split : {"launch", "time", "random"}
    seed : int
        Of the split and of all models.
    settings : dict
        Parameters of :class:`DDCLClassifier`.
    verbose : int
        1 shows a progress bar.
    checkpoint : CheckpointFile, default=None
        Written after every epoch, and gone on with; an interrupted training then ends with its best epoch so far.

    Returns
    -------
    TrainingRun

    Raises
    ------
    InputError
        The catalog lacks the target column, or cannot be split.
    CheckpointError
        The checkpoint to go on with was made for something else.
    WriteError
        The checkpoint cannot be written.
    """
    require_target(frame, target)
    known = frame.filter(pl.col(target).is_not_null() & (pl.col(target).cast(pl.String) != UNKNOWN))
    parts = split_catalog(known, target, split, seed)
    clf = DDCLClassifier(**{"random_state": seed, "verbose": verbose} | settings | {"target": target})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # the commands never offer leaks
        start = time.perf_counter()
        clf.fit_with_checkpoint(known[parts.train], checkpoint=checkpoint)
        fit_seconds = time.perf_counter() - start
    probability = clf.predict_proba(known[parts.test])
    held_out = held_out_table(known[parts.test], target, probability, clf.classes_)
    scores = score(known[target].to_numpy()[parts.test], probability, clf.classes_)
    metrics = (
        scores
        | {
            "n_train": len(parts.train),
            "n_test": len(parts.test),
            "n_left_out": len(frame) - len(known),
            "fit_seconds": fit_seconds,
        }
        | ({"resumed_after_epoch": checkpoint.epoch} if checkpoint is not None and checkpoint.epoch else {})
        | {
            "split": parts.description,
            "target": target,
            "synthetic": is_synthetic(frame),
            "features": clf.encoder_.feature_names_,
        }
        | _soundness(clf)
        | {
            "peers": _score_peers(known, clf.encoder_.feature_names_, target, parts, seed),
            "seed": seed,
            "settings": settings,
        }
        | {"versions": _versions()}
    )
    return TrainingRun(clf, metrics, held_out)


def held_out_table(
    frame: pl.DataFrame, target: str, probability: NDArray[np.float64], classes: NDArray[Any]
) -> pl.DataFrame:
    """What the model said of the rows that it was not trained on, for whoever scores it later.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows held out.
    target : str
        Column of the recorded classes.
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)

    Returns
    -------
    polars.DataFrame
        ``NORAD_CAT_ID``, ``launch``, the recorded class as ``recorded``, ``p(CLASS)`` for each class.

    Examples
    --------
    >>> frame = pl.DataFrame({"NORAD_CAT_ID": [90001], "OBJECT_ID": ["2031-007C"], "OBJECT_TYPE": ["DEBRIS"]})
    >>> held_out_table(frame, "OBJECT_TYPE", np.array([[0.9, 0.1]]), np.array(["DEBRIS", "PAYLOAD"])).row(0)
    (90001, '2031-007', 'DEBRIS', 0.9, 0.1)
    """
    return pl.DataFrame(
        {"NORAD_CAT_ID": frame["NORAD_CAT_ID"], "launch": launch_of(frame), "recorded": frame[target]}
        | {f"p({name})": probability[:, i] for i, name in enumerate(classes)}
    )


def _soundness(clf: DDCLClassifier) -> dict[str, Any]:
    share = np.array(clf.prototypes_["share"])
    return {
        "n_prototypes": len(share),
        "prototypes_in_use": int(in_use(share).sum()),
        "identity_residual_max": max(row["identity_residual"] for row in clf.history_),
        "effective_prototypes": clf.history_[clf.best_epoch_ - 1]["effective_prototypes"],
        "epochs": clf.n_iter_,
        "best_epoch": clf.best_epoch_,
        "stability": clf.stability_.verdict,
        "stability_margins": clf.stability_.margins,
    }


def _score_peers(frame: pl.DataFrame, names: list[str], target: str, parts: Split, seed: int) -> dict[str, Any]:
    table = peer_table(frame, names, pl.Series(parts.train))
    y = frame[target].to_numpy()
    result = {}
    for name, peer in make_peers(seed).items():
        start = time.perf_counter()
        peer.fit(table.iloc[parts.train], y[parts.train])
        fit_seconds = time.perf_counter() - start
        scores = score(y[parts.test], peer.predict_proba(table.iloc[parts.test]), peer.classes_)
        result[name] = scores | {"fit_seconds": fit_seconds}
    return result


def _versions() -> dict[str, str]:
    packages = ("ddcl-tab", "torch", "scikit-learn", "skorch", "polars", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def write_run(run: TrainingRun, out: Path) -> None:
    """Write :data:`RUN_FILES` into a folder, which is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    for name in RUN_FILES:
        remove_leftovers(out / name)
    run.classifier.save(out / MODEL_FILE)
    write_whole(out / METRICS_FILE, json.dumps(run.metrics, indent=2) + "\n")
    write_table(out / PROTOTYPES_FILE, _written_prototypes(run.classifier))
    write_table(out / HELD_OUT_FILE, with_rounded_shares(run.held_out, _by_class("p({})", run.classifier)))


def _by_class(column: str, clf: DDCLClassifier) -> list[str]:
    return [column.format(name) for name in clf.classes_]


def _written_prototypes(clf: DDCLClassifier) -> pl.DataFrame:
    """``prototypes_`` without columns that say nothing: of a text column without any value, "missing" is the top."""
    silent = {f"{name} {what}" for name in clf.encoder_.empty_ for what in ("top", "top share")}
    table = without_empty_columns(pl.DataFrame(clf.prototypes_).drop(silent, strict=False))
    table = table.with_columns(share=rounded_shares(table["share"].to_numpy()[None])[0])
    for columns in ("share {}", "says {}"):
        table = with_rounded_shares(table, _by_class(columns, clf))
    return table
