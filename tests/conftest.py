"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real catalogs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DDCL_TAB_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real catalogs: neither DDCL_TAB_DATA nor {folder} is a folder")
    return folder
