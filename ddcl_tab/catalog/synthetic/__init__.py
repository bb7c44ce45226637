"""Made-up catalogs: launch programs (`programs`), the objects as numbers (`population`), as SATCAT text (`satcat`)."""

from ddcl_tab.catalog.synthetic.satcat import SPACETRACK_COLUMNS, synthetic_catalog, write_satcat

__all__ = ["SPACETRACK_COLUMNS", "synthetic_catalog", "write_satcat"]
