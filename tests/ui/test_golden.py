"""The main views as a person sees them, beside pictures that were looked at."""

from __future__ import annotations

import re
from pathlib import Path

import golden
import numpy as np
import pytest
from PIL import Image
from ui_screen import Screen
from ui_server import Watched

VIEWS = ("maps", "patterns", "measured", "dendrogram", "gallery", "class-map", "class-pattern", "class-orientation")


def test_the_main_views_look_as_they_did_in_light_and_dark(screen: Screen, watched: Watched, tmp_path: Path) -> None:
    screen.page.locator(".class-table tbody tr").nth(1).locator("td").first.click()
    screen.page.get_by_text("part of the fitted intensity that class 1 makes").wait_for()
    screen.page.locator(".class-headline").get_by_text("class 1", exact=True).wait_for()
    screen.page.locator(".class-table tbody tr").nth(1).get_by_text(re.compile(r" nm \(\d+\)$")).wait_for()  # measured
    for name in VIEWS:
        golden.check(name, screen.picture(name), tmp_path)
    screen.choose("Maps", "classes")
    screen.page.get_by_text("crystalline classes over the virtual image").wait_for()
    golden.check("maps-classes", screen.picture("maps"), tmp_path)
    screen.page.get_by_role("button", name="Toggle theme").click()
    screen.page.wait_for_function("() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'")
    golden.check("dendrogram-dark", screen.picture("dendrogram"), tmp_path)
    watched.check()


@pytest.mark.parametrize("name", ["maps-classes", "class-orientation", "dendrogram", "gallery"])
def test_what_matters_is_beyond_the_tolerance(name: str) -> None:
    """Two colours that change places, a picture upside down, a figure that is empty: each is found."""
    kept = np.asarray(Image.open(golden.FOLDER / f"{name}.png").convert("RGB"))
    assert golden.like(kept, kept)
    assert not golden.like(kept, kept[..., [2, 1, 0]])
    assert not golden.like(kept, kept[::-1])
    assert not golden.like(kept, np.full_like(kept, np.median(kept)))
    shaken = np.clip(kept + np.random.default_rng(0).normal(0, 4, kept.shape), 0, 255)
    assert golden.like(kept, shaken)
