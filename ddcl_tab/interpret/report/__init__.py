"""A model and what it says about a catalog on one HTML page: collect the data, then render them."""

from ddcl_tab.interpret.report.collect import collect_report
from ddcl_tab.interpret.report.data import Report, Source
from ddcl_tab.interpret.report.render import render_report

__all__ = ["Report", "Source", "collect_report", "render_report"]
