"""The notebooks run from beginning to end, on the synthetic catalog and on the real one where it is present.

Each takes up to half a minute: they train. Two run at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def execute(name: str, data: str, out: Path) -> nbformat.NotebookNode:
    """Run a notebook as a person would, from its own folder; the copy with outputs comes back."""
    command = [str(Path(sys.executable).parent / "jupyter-execute"), "--timeout=300", f"--output={out}", name]
    environment = os.environ | {"DDCL_TAB_DATA": data, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return nbformat.read(out, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """All notebooks on both catalogs, started together; a real catalog that is absent is not asked for."""
    out = tmp_path_factory.mktemp("notebooks")
    real = Path(os.environ.get("DDCL_TAB_DATA", FOLDER.parents[1] / "shared" / "data"))
    folders = {"SYNTHETIC": str(out / "absent")} | ({"Space-Track": str(real)} if real.is_dir() else {})
    with ThreadPoolExecutor(2) as pool:
        runs: dict[tuple[str, str], Future] = {
            (name, kind): pool.submit(execute, name, data, out / f"{kind}-{name}")
            for kind, data in folders.items()
            for name in NOTEBOOKS
        }
        yield runs
        for run in runs.values():
            run.cancel()


def test_there_are_five():
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("kind", ["SYNTHETIC", "Space-Track"])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_and_says_which_catalog(executed, name, kind):
    if (name, kind) not in executed:
        pytest.skip("no real catalogs here")
    notebook = executed[name, kind].result()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert f"{kind} catalog" in printed
    shown = [output for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert len(shown) >= 3
    assert not [output for output in outputs if output.get("name") == "stderr"], "a warning would face the reader"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_outputs_are_stored(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
