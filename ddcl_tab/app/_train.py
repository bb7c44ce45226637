"""Train on a catalog and write down how good the result is; read back what was written."""

from __future__ import annotations

import json
import platform
import time
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._files import remove_leftovers, write_whole
from ddcl_tab.app._catalog import has_known_class, is_synthetic, require_target
from ddcl_tab.app._evaluation import Split, make_peers, peer_frame, score, split_catalog
from ddcl_tab.app._tables import (
    held_out_arrays,
    held_out_frame,
    read_held_out,
    rounded_shares,
    with_rounded_shares,
    write_csv,
)
from ddcl_tab.errors import CatalogError, ConfigurationError, InputError, LeakWarning
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import refuse_parameters
from ddcl_tab.space._text import read_text, text_chunks
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._checkpoint import CheckpointFile

MODEL_FILE, METRICS_FILE, PROTOTYPES_FILE = "model.ddcl", "metrics.json", "prototypes.csv"
HELD_OUT_FILE, CHECKPOINT_FILE = "held_out.csv", "checkpoint.ddcl"
RUN_FILES = (MODEL_FILE, METRICS_FILE, PROTOTYPES_FILE, HELD_OUT_FILE)
#: Largest change of a log loss by six significant digits of the probabilities: at most 5e-6 of each [nats].
ROUNDING = 1e-5


class TrainingRun(NamedTuple):
    """Result of :func:`train_catalog`.

    Attributes
    ----------
    classifier : DDCLClassifier
    metrics : dict
    held_out : polars.DataFrame
        See :func:`held_out_frame`.
    """

    classifier: DDCLClassifier
    metrics: dict[str, Any]
    held_out: pl.DataFrame


def open_checkpoint(out: Path, *, resume: bool) -> tuple[CheckpointFile, str]:
    """Open the checkpoint of a folder of results.

    Parameters
    ----------
    out : path
        The folder.
    resume : bool
        Whether to go on from the checkpoint that lies there.

    Returns
    -------
    file : CheckpointFile
    note : str
        A line about it for the user, or nothing.

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


def read_settings(path: Path | None, *, no_family: bool) -> dict[str, Any]:
    """Parameters as :func:`read_config` reads them, with ``--no-family``: TOML has no word for None.

    Raises
    ------
    ConfigurationError
        As there; or the file names a family and the command wants none, or the file tries to say that there is none.
    """
    settings = read_config(path)
    if settings.get("family") in (False, "", "none", "None"):
        raise ConfigurationError(
            f"{path} says family = {settings['family']!r}, and TOML has no word for none: take the line away and give "
            "--no-family."
        )
    if not no_family:
        return settings
    if "family" in settings:
        raise ConfigurationError(
            f"{path} says family = {settings['family']!r} and --no-family says none: take one of the two away."
        )
    return settings | {"family": None}


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
        Parameters of :class:`DDCLClassifier`. Families are counted in the whole catalog, objects of unknown class
        included, and the peers get the same columns; ``"family": None`` leaves them out.
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
    known = frame.filter(has_known_class(frame, target))
    parts = split_catalog(known, target, split, seed)
    clf = DDCLClassifier(**{"random_state": seed, "verbose": verbose} | settings | {"target": target})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # the commands never offer leaks
        start = time.perf_counter()
        clf.fit_with_checkpoint(known[parts.train], checkpoint=checkpoint, catalog=frame)
        fit_seconds = time.perf_counter() - start
    probability = clf.predict_proba(known[parts.test])
    held_out = held_out_frame(known[parts.test], target, probability, clf.classes_)
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
            "peers": _score_peers(
                clf._features_of(known), known[target].to_numpy(), clf.encoder_.feature_names_, parts, seed
            ),
            "seed": seed,
            "settings": settings,
        }
        | {"versions": _versions()}
    )
    return TrainingRun(clf, metrics, held_out)


def read_metrics(path: Path, clf: DDCLClassifier, held_out: pl.DataFrame | None) -> dict[str, Any] | None:
    """What ``train`` wrote of its scores; None without the file.

    Parameters
    ----------
    path : path
    clf : DDCLClassifier
        The model beside the file.
    held_out : polars.DataFrame or None
        As :func:`read_held_out` returns it.

    Returns
    -------
    dict or None

    Raises
    ------
    InputError
        It is no JSON, or belongs to another training than the model or the held-out rows.
    """
    if not path.is_file():
        return None
    try:
        metrics = dict(json.loads(read_text(path)))
    except ValueError as error:
        raise InputError(f"{path}: not JSON as ddcl-tab train writes it ({error}). Train again.") from error
    if (metrics.get("epochs"), metrics.get("best_epoch")) != (clf.n_iter_, clf.best_epoch_):
        raise InputError(
            f"{path}: epoch {metrics.get('best_epoch')} of {metrics.get('epochs')} kept, but the model beside it kept "
            f"epoch {clf.best_epoch_} of {clf.n_iter_}. Put the files of one training into one folder."
        )
    if held_out is not None:
        rows = held_out_arrays(held_out, clf.classes_)
        found = score(rows.recorded, rows.probability, clf.classes_.astype(str))["log_loss"]
        if not np.isclose(found, metrics.get("log_loss", np.nan), rtol=0.0, atol=ROUNDING):
            raise InputError(
                f"{path}: log_loss {metrics.get('log_loss')}, but that of the rows in {HELD_OUT_FILE} is {found}. Put "
                "the files of one training into one folder."
            )
    return metrics


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


def _score_peers(frame: pl.DataFrame, y: NDArray[Any], names: list[str], parts: Split, seed: int) -> dict[str, Any]:
    X = peer_frame(frame, names, pl.Series(parts.train))
    result = {}
    for name, peer in make_peers(seed, len(parts.train)).items():
        start = time.perf_counter()
        peer.fit(X.iloc[parts.train], y[parts.train])
        fit_seconds = time.perf_counter() - start
        scores = score(y[parts.test], peer.predict_proba(X.iloc[parts.test]), peer.classes_)
        result[name] = scores | {"fit_seconds": fit_seconds}
    return result


def _versions() -> dict[str, str]:
    packages = ("ddcl-tab", "torch", "scikit-learn", "skorch", "polars", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def write_run(run: TrainingRun, out: Path) -> None:
    """Write :data:`RUN_FILES` into a folder.

    Parameters
    ----------
    run : TrainingRun
    out : path
        Made if need be.

    Raises
    ------
    WriteError
        A file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in RUN_FILES:
        remove_leftovers(out / name)
    run.classifier.save(out / MODEL_FILE)
    write_whole(out / METRICS_FILE, json.dumps(run.metrics, indent=2) + "\n")
    write_csv(out / PROTOTYPES_FILE, _written_prototypes(run.classifier))
    write_csv(out / HELD_OUT_FILE, with_rounded_shares(run.held_out, _by_class("p({})", run.classifier)))


def _by_class(column: str, clf: DDCLClassifier) -> list[str]:
    return [column.format(name) for name in clf.classes_]


def _written_prototypes(clf: DDCLClassifier) -> pl.DataFrame:
    """``prototypes_`` with shares that sum to 1 as they are written."""
    table = pl.DataFrame(clf.prototypes_)
    table = table.with_columns(share=rounded_shares(table["share"].to_numpy()[None])[0])
    return with_rounded_shares(table, _by_class("share {}", clf))


def read_run(model: Path, clf: DDCLClassifier) -> tuple[pl.DataFrame | None, dict[str, Any] | None]:
    """What ``train`` wrote beside a model of the rows held out, and of its scores; None where a file is missing.

    Parameters
    ----------
    model : path
        Of the model file.
    clf : DDCLClassifier
        What stands in it.

    Raises
    ------
    InputError
        A file is not as ``train`` writes it, or belongs to another training.
    """
    held_out = read_held_out(model.parent / HELD_OUT_FILE, clf)
    return held_out, read_metrics(model.parent / METRICS_FILE, clf, held_out)
