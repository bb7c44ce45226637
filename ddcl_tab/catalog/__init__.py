"""Catalog files to validated polars frames with one schema."""

from ddcl_tab.catalog.elsets import read_elsets
from ddcl_tab.catalog.join import join_elsets, launch_of
from ddcl_tab.catalog.satcat import read_satcat
from ddcl_tab.catalog.schema import ELSET_COLUMNS, LEAKS, SATCAT_COLUMNS, UNITS, Column
from ddcl_tab.catalog.synthetic import synthetic_catalog, write_satcat

__all__ = [
    "ELSET_COLUMNS",
    "LEAKS",
    "SATCAT_COLUMNS",
    "UNITS",
    "Column",
    "join_elsets",
    "launch_of",
    "read_elsets",
    "read_satcat",
    "synthetic_catalog",
    "write_satcat",
]
