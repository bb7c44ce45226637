"""Catalog files to validated polars frames with one schema."""

from ddcl_tab.catalog.elsets import read_elsets
from ddcl_tab.catalog.gcat import read_gcat
from ddcl_tab.catalog.gp import read_gp
from ddcl_tab.catalog.join import join_elsets, launch_of
from ddcl_tab.catalog.object_types import DISCOS_TYPES, object_types_of_discos
from ddcl_tab.catalog.satcat import read_satcat
from ddcl_tab.catalog.scan import scan_gp, scan_satcat
from ddcl_tab.catalog.schema import ELSET_COLUMNS, LEAKS, SATCAT_COLUMNS, UNITS, Column
from ddcl_tab.catalog.shape import add_orbit_shape
from ddcl_tab.catalog.synthetic import synthetic_catalog, write_satcat
from ddcl_tab.catalog.ucs import read_ucs
from ddcl_tab.catalog.write import write_gp

__all__ = [
    "DISCOS_TYPES",
    "ELSET_COLUMNS",
    "LEAKS",
    "SATCAT_COLUMNS",
    "UNITS",
    "Column",
    "add_orbit_shape",
    "join_elsets",
    "launch_of",
    "object_types_of_discos",
    "read_elsets",
    "read_gcat",
    "read_gp",
    "read_satcat",
    "read_ucs",
    "scan_gp",
    "scan_satcat",
    "synthetic_catalog",
    "write_gp",
    "write_satcat",
]
