"""Apply a trained model to a catalog: a table of classes with reasons, and one HTML page that asks for nothing."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
from markupsafe import Markup

from ddcl_tab import __version__
from ddcl_tab._files import write_whole
from ddcl_tab.app._collect import collect_report
from ddcl_tab.app._evaluation import Estimate, score
from ddcl_tab.app._figures import CURVE, CURVE_MARGIN, MARGIN, PANEL, STRIP
from ddcl_tab.app._output import SYNTHETIC_NOTE, as_written, rounded_shares
from ddcl_tab.app._report_data import SURE, Report, Source
from ddcl_tab.app._svg import MARKERS, Scale, number, percent, span, unit_words
from ddcl_tab.app._train import HELD_OUT_FILE, METRICS_FILE, did_you_mean, is_synthetic, load_catalog_for
from ddcl_tab.errors import CatalogError, InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import target_of
from ddcl_tab.space._content import separator_of
from ddcl_tab.space._text import read_text

_IDENTIFIERS = ("NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME")


def classify_catalog(clf: DDCLClassifier, frame: pl.DataFrame, only: str | None) -> pl.DataFrame:
    """Class, probabilities, top prototype and a one-sentence reason for each object.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model.
    only : str or None
        Keep the objects whose recorded class is this one, in any case of letters.

    Returns
    -------
    polars.DataFrame
        One row an object: identifiers, the recorded class as ``recorded``, ``class``, ``p(CLASS)`` for each class
        (six significant digits), ``prototype``, ``prototype_weight``, ``reason``.

    Raises
    ------
    InputError
        No object has the recorded class ``only``; names those that are there.
    """
    target = str(target_of(clf.target, frame))
    recorded = frame[target] if target in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    if only is not None:
        chosen = _recorded_as(recorded, only, target)
        frame, recorded = frame.filter(chosen), recorded.filter(chosen)
    probability, q, reasons = clf.decide(frame)
    written = rounded_shares(probability)
    return pl.DataFrame(
        {name: frame[name] for name in _IDENTIFIERS if name in frame.columns}
        | {"recorded": recorded, "class": clf.classes_[probability.argmax(axis=1)]}
        | {f"p({name})": written[:, i] for i, name in enumerate(clf.classes_)}
        | {"prototype": q.argmax(axis=1), "prototype_weight": q.max(axis=1), "reason": reasons}
    )


def _recorded_as(recorded: pl.Series, only: str, target: str) -> pl.Series:
    """Which objects are recorded as a class that the user typed, in any case of letters."""
    names = recorded.cast(pl.String)
    known = names.unique().drop_nulls().sort().to_list()
    if not known:
        raise InputError(f"no object has a recorded class in {target}: leave --only out")
    # Two classes may differ in case alone: as typed comes first.
    typed = " ".join(only.split()).casefold()
    meant = [only] if only in known else [name for name in known if name.casefold() == typed]
    if not meant:
        raise InputError(
            f"no object has {target} {only!r}; the catalog has {', '.join(known)}{did_you_mean(only, known)}"
        )
    return names.is_in(meant).fill_null(False)


def surest(table: pl.DataFrame, n: int) -> pl.DataFrame:
    """The ``n`` objects with the highest class probability, in the columns that fit a screen."""
    probability = pl.max_horizontal(pl.selectors.starts_with("p("))
    shown = table.with_columns(probability=probability).sort("probability", descending=True).head(n)
    return shown.select(
        pl.selectors.by_name("NORAD_CAT_ID", "OBJECT_NAME", require_all=False),
        "class",
        pl.col("probability").round(4),
        "reason",
    )


#: Scores of the page: name in ``metrics.json``, words, whether more is better.
FIGURES = (
    ("macro_f1", "macro-F1", True),
    ("accuracy", "accuracy", True),
    ("balanced_accuracy", "balanced accuracy", True),
    ("log_loss", "log loss [nats]", False),
    ("ece", "calibration error", False),
)

#: A peer is drawn if it lies within this many widths of the interval.
NEAR = 4.0


def render_report(report: Report) -> str:
    """HTML of a report.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        A whole page; what comes from catalogs is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddcl_tab.app", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "unit": unit_words}
    script = _asset("script.js")
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        # The page may run this script and no other, whatever text a catalog brings.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        figures=FIGURES,
        interval_plot=_interval_plot,
        span=span,
        markers=MARKERS,
        sure=SURE,
        panel=PANEL,
        margin=MARGIN,
        curve=CURVE,
        curve_margin=CURVE_MARGIN,
        strip_size=STRIP,
    )


def _asset(name: str) -> str:
    return (files("ddcl_tab.app") / "templates" / name).read_text(encoding="utf-8")


def _interval_plot(report: Report, figure: str) -> tuple[Estimate, list[float]]:
    """Places [0, 100] of a score with its interval, and of the peers near it; one far off would squeeze all others."""
    if report.scores is None:
        return Estimate(0.0, 0.0, 0.0), []
    own = report.scores.figures[figure]
    reach = NEAR * max(own.high - own.low, 1e-6)
    peers = [peer.figures[figure] for peer in report.peers if figure in peer.figures]
    values = np.array([own.low, own.value, own.high, *(p for p in peers if abs(p - own.value) <= reach)])
    low, value, high, *near = np.round(Scale(values.min(), values.max() + 1e-9, 3.0, 97.0)(values), 1).tolist()
    return Estimate(value, low, high), near


NO_HELD_OUT = (
    f"no {HELD_OUT_FILE} beside the model: no held-out objects are known, so the report has no scores "
    "(training rows are never scored)"
)
#: Largest change of a log loss by six significant digits of the probabilities: at most 5e-6 of each [nats].
ROUNDING = 1e-5


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
    frame = load_catalog_for(clf, catalog, elsets)
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
        if not np.isclose(found, metrics.get("log_loss", np.nan), rtol=0.0, atol=ROUNDING):
            raise InputError(
                f"{path}: log_loss {metrics.get('log_loss')}, but that of the rows in {HELD_OUT_FILE} is {found}. Put "
                "the files of one training into one folder."
            )
    return metrics
