"""The theme: colours that everybody can see and tell apart, on white and on dark."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.settings import PROJECT_ROOT

CONFIG: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[1] / "dashboard" / ".streamlit" / "config.toml").read_text(encoding="utf-8")
)
#: How eyes see linear RGB: as they are, and without red, green or blue cones (Machado, Oliveira and Fernandes 2009).
EYES = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),  # noqa: E501
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),  # noqa: E501
    "no blue cones": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),  # noqa: E501
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # noqa: E501
WHITE = np.array([0.95047, 1.0, 1.08883])

modes = pytest.mark.parametrize("mode", ["light", "dark"])


def _linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(float((TO_XYZ @ _linear(colour))[1]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def _lab(colour: str, eyes: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(eyes @ _linear(colour), 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@modes
def test_text_has_contrast_on_each_background(mode: str) -> None:
    theme = CONFIG["theme"][mode]
    texts = ["textColor", "linkColor", *(name for name in theme if name.endswith("Color") and name[:-5] in (
        "red", "orange", "yellow", "green", "blue", "violet", "gray"))]  # fmt: skip
    for name, background in itertools.product(texts, ("backgroundColor", "secondaryBackgroundColor")):
        assert _contrast(theme[name], theme[background]) >= 4.5, (name, background)


def _over(colour: str, background: str, share: float) -> str:
    parts = ((int(one[at : at + 2], 16) for one in (colour, background)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(share * front + (1 - share) * back):02X}" for front, back in parts)


@modes
def test_small_print_and_a_main_buttons_words_can_be_read(mode: str) -> None:
    theme = CONFIG["theme"][mode]
    for name in ("backgroundColor", "secondaryBackgroundColor"):
        # Streamlit's captions, and the first columns of its tables, are the text at 60 %.
        assert _contrast(_over(theme["textColor"], theme[name], 0.6), theme[name]) >= 4.5, name
    assert _contrast("#FFFFFF", theme["primaryColor"]) >= 4.5
    assert _contrast(theme["primaryColor"], theme["backgroundColor"]) >= 3, "a switch is seen"


@modes
def test_every_colour_of_a_chart_is_seen_on_the_page(mode: str) -> None:
    theme = CONFIG["theme"][mode]
    for colour in theme["chartCategoricalColors"]:
        assert _contrast(colour, theme["backgroundColor"]) >= 3, colour


@modes
@pytest.mark.parametrize("eyes", EYES)
def test_any_two_colours_of_a_chart_are_told_apart_by_all_eyes(mode: str, eyes: str) -> None:
    for one, other in itertools.combinations(CONFIG["theme"][mode]["chartCategoricalColors"], 2):
        distance = float(np.linalg.norm(_lab(one, EYES[eyes]) - _lab(other, EYES[eyes])))
        assert distance > 25, (one, other)  # 2 is seen side by side; lines and legends lie apart


def test_nothing_of_the_theme_comes_from_the_internet() -> None:
    fonts = [value for name, value in CONFIG["theme"].items() if "ont" in name and isinstance(value, str)]
    assert fonts and not [font for font in fonts if "//" in font]
    assert CONFIG["browser"]["gatherUsageStats"] is False


def test_the_configuration_is_found_under_uvicorn_from_any_folder(tmp_path: Path) -> None:
    look = (
        "import dashboard.app; from streamlit import config\n"
        "print([config.get_option(name) for name in ('theme.light.primaryColor', 'browser.gatherUsageStats')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str([CONFIG["theme"]["light"]["primaryColor"], False]), done.stderr
