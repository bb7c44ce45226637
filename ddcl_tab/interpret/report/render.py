"""A report as one HTML page that asks for nothing: style and script stand in it, text is escaped by Jinja."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import jinja2
import numpy as np
from markupsafe import Markup

from ddcl_tab.interpret.report import words
from ddcl_tab.interpret.report.bootstrap import Estimate
from ddcl_tab.interpret.report.data import SURE, Report
from ddcl_tab.interpret.report.figures import CURVE, CURVE_MARGIN, MARGIN, PANEL, STRIP
from ddcl_tab.interpret.report.svg import MARKERS, Scale

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
        loader=jinja2.PackageLoader("ddcl_tab.interpret.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": words.number, "percent": words.percent, "unit": words.unit_words}
    script = _asset("script.js")
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        # The page may run this script and no other, whatever text a catalog brings.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        figures=FIGURES,
        interval_plot=_interval_plot,
        span=words.span,
        markers=MARKERS,
        sure=SURE,
        panel=PANEL,
        margin=MARGIN,
        curve=CURVE,
        curve_margin=CURVE_MARGIN,
        strip_size=STRIP,
    )


def _asset(name: str) -> str:
    return (files("ddcl_tab.interpret.report") / "templates" / name).read_text(encoding="utf-8")


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
