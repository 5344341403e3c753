"""The notebooks run from top to bottom, with a running event loop in the main thread, as in Jupyter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.settings import PROJECT_ROOT
from tests.running import PATIENCE, process

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.usefixtures("database", "prefect_api")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / "cells.py"
    script.write_text(
        "import asyncio, json, sys\n"
        f"cells = json.loads({json.dumps(json.dumps(code))})\n"
        "async def kernel():\n"
        "    names = {'__name__': '__main__'}\n"
        "    for cell in cells:\n"
        "        exec(compile(cell, 'cell', 'exec'), names)\n"
        "    print('all cells ran:', names['job_id'])\n"
        "asyncio.run(kernel())\n",
        encoding="utf-8",
    )
    with process(str(script)) as child:
        assert child.exit_code(within=3 * PATIENCE) == 0, child.output
        assert "all cells ran" in child.output
        assert "3 completed" in child.output
