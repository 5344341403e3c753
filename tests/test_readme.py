"""The README is true: its settings, its commands, its example of a job type."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from models.settings import PROJECT_ROOT, Settings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.MULTILINE))
    fields = {str(field.alias): field for field in Settings.model_fields.values()}
    assert rows.keys() == fields.keys()
    for alias, field in fields.items():
        if field.default not in (None, ()) and alias != "JOB_QUEUE_DATA_DIR":
            assert rows[alias].strip("`") == str(field.default).lower() or rows[alias].strip("`") == str(field.default)


def test_the_examples_are_python() -> None:
    for block in _blocks("python"):
        compile(block, "README.md", "exec")


def test_the_targets_it_names_are_in_the_makefile() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (demo|test|up|lint|bench)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_a_job_type_written_as_the_readme_says_works_as_the_readme_says(tmp_path: Path) -> None:
    """In a copy of the project, as a newcomer would: two files, and the commands."""
    section = README.partition("## Writing a job type")[2].partition("\n## ")[0]
    processor, test = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = re.findall(r"`((?:tasks|tests)/\w+\.py)`", section)
    copy = tmp_path / "project"
    shutil.copytree(PROJECT_ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
    assert names[:2] == ["tasks/post_invoice.py", "tests/test_post_invoice.py"]
    (copy / names[0]).write_text(processor, encoding="utf-8")
    (copy / names[1]).write_text(test, encoding="utf-8")

    def run(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(copy), "JOB_QUEUE_DATA_DIR": str(tmp_path / "data")}
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=copy, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "2 passed" in run("pytest", "-q", "-p", "no:cacheprovider", names[1])
    assert "Tells the bookkeeping of an invoice" in run("deployments.cli", "types", "--json")
    (command,) = re.findall(r"`\.venv/bin/jobs (add post_invoice .*?)`", section)
    job_id = run("deployments.cli", *shlex.split(command)).strip()
    assert '"invoice_id": "i-1"' in run("deployments.cli", "show", job_id, "--json")
