"""One HTML page on a model and a catalog: load, collect, write."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ddcl_tab import __version__
from ddcl_tab.atomic import write_whole
from ddcl_tab.catalog.files import separator_of
from ddcl_tab.catalog.text import read_text
from ddcl_tab.errors import CatalogError, InputError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.interpret.report import Source, collect_report, render_report
from ddcl_tab.workflow.scores import score
from ddcl_tab.workflow.show import SYNTHETIC_NOTE
from ddcl_tab.workflow.spreadsheet import as_written
from ddcl_tab.workflow.train import HELD_OUT_FILE, METRICS_FILE, is_synthetic, load_catalog

NO_HELD_OUT = (
    f"no {HELD_OUT_FILE} beside the model: no held-out objects are known, so the report has no scores "
    "(training rows are never scored)"
)


def write_report(model: Path, catalog: Path, elsets: Path | None, out: Path) -> list[str]:
    """Write the report of a model and a catalog.

    Parameters
    ----------
    model : path
        As ``ddcl-tab train`` wrote it. ``held_out.csv`` and ``metrics.json`` are looked for beside it.
    catalog : path
    elsets : path or None
        Element sets, if the model was trained with them.
    out : path
        HTML file.

    Returns
    -------
    list of str
        What to tell the user.

    Raises
    ------
    DDCLTabError
        A file cannot be used, or those beside the model belong to another training.
    """
    clf = DDCLClassifier.load(model)
    held_out = read_held_out(model.parent / HELD_OUT_FILE, clf)
    metrics = read_metrics(model.parent / METRICS_FILE, clf, held_out)
    frame = load_catalog(catalog, elsets)
    source = Source(
        catalog=catalog.name,
        model=model.name,
        date=datetime.date.today().isoformat(),
        version=__version__,
        synthetic=is_synthetic(frame),
        trained_on_synthetic=bool((metrics or {}).get("synthetic", False)),
    )
    page = render_report(collect_report(clf, frame, source, held_out=held_out, metrics=metrics))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)
    lines = [SYNTHETIC_NOTE] if source.synthetic else []
    lines += [NO_HELD_OUT] if held_out is None else []
    return [*lines, f"{out}: {len(frame)} objects, {out.stat().st_size / 1e6:.1f} MB"]


def read_held_out(path: Path, clf: DDCLClassifier) -> pl.DataFrame | None:
    """What ``train`` wrote of the rows held out; None without the file.

    Raises
    ------
    InputError
        It is no such table, or of a model with other classes.
    """
    if not path.is_file():
        return None
    wanted = {"NORAD_CAT_ID": pl.Int64, "launch": pl.String, "recorded": pl.String}
    wanted |= {f"p({name})": pl.Float64 for name in clf.classes_}
    try:
        text = read_text(path)
        separator_of(text, path, ",")  # a spreadsheet may have saved it again
        table = pl.read_csv(io.BytesIO(text.encode()), schema_overrides=wanted)
        table = table.with_columns(as_written(pl.col(pl.String)))
    except (pl.exceptions.PolarsError, CatalogError) as error:
        raise InputError(f"{path}: not a table as ddcl-tab train writes it ({error}). Train again.") from error
    if table.columns != list(wanted) or not len(table) or sum(table.null_count().row(0)):
        raise InputError(
            f"{path}: a table of held-out rows has the columns {', '.join(wanted)} and no gaps; this one has "
            f"{', '.join(table.columns)} and {len(table)} rows. Put the file of this model's training there."
        )
    return table


def read_metrics(path: Path, clf: DDCLClassifier, held_out: pl.DataFrame | None) -> dict[str, Any] | None:
    """What ``train`` wrote of its scores; None without the file.

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
        probability = held_out.select([f"p({name})" for name in clf.classes_]).to_numpy()
        found = score(held_out["recorded"].to_numpy(), probability, clf.classes_.astype(str))["log_loss"]
        if not np.isclose(found, metrics.get("log_loss", np.nan), rtol=1e-6):
            raise InputError(
                f"{path}: log_loss {metrics.get('log_loss')}, but that of the rows in {HELD_OUT_FILE} is {found}. Put "
                "the files of one training into one folder."
            )
    return metrics
