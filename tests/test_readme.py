"""The README is true: its settings, its commands, its example of a job type."""

from __future__ import annotations

import re
from pathlib import Path

from models.settings import Settings

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
