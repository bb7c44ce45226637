"""Fixtures shared by all tests."""

from __future__ import annotations

import os

# scikit-learn's array API check runs only if this is set before SciPy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[1]
SYNTHETIC = ROOT / "data" / "synthetic_satcat.csv.gz"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real catalogs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DDCL_TAB_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real catalogs: neither DDCL_TAB_DATA nor {folder} is a folder")
    return folder


@pytest.fixture(scope="session")
def synthetic() -> pl.DataFrame:
    """The synthetic catalog of data/, 5000 rows."""
    from ddcl_tab.catalog import read_satcat

    return read_satcat(SYNTHETIC)
