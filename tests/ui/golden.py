"""Pictures of figures beside kept ones, with room for other fonts and the last digits of another processor.

`STEM4D_UPDATE_GOLDEN=1` keeps new ones; look at them before they are committed.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "golden"
BLOCK = 6  # screen pixels, wider than the strokes of a letter
LIGHT, COLOUR = 0.2, 0.5  # how far light and colour may be off, as a part of what stands out from the ground


def blocks(image: np.ndarray) -> np.ndarray:
    """Means over squares of pixels, shape (y, x, 3)."""
    h, w = (n // BLOCK for n in image.shape[:2])
    return np.asarray(image[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK, 3).mean(axis=(1, 3)))


def difference(found: np.ndarray, kept: np.ndarray) -> tuple[float, float]:
    """How far light and colour of a picture (y, x, 3) are off, as parts of what stands out from the ground in the kept one."""
    a, b = blocks(found), blocks(kept)
    ground = np.median(b.reshape(-1, 3), axis=0)
    return tuple(  # type: ignore[return-value] # two
        float(np.abs(part(a) - part(b)).mean() / max(float(np.abs(part(b) - part(ground)).mean()), 0.5))
        for part in (lambda image: image.mean(axis=-1), lambda image: image - image.mean(axis=-1, keepdims=True))
    )


def like(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures look alike."""
    if a.shape != b.shape:
        return False
    light, colour = difference(a, b)
    return light <= LIGHT and colour <= COLOUR


def check(name: str, png: bytes, left: Path) -> None:
    """Compare a picture with the kept one of that name; one that differs is left in a folder."""
    found = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    path = FOLDER / f"{name}.png"
    if os.environ.get("STEM4D_UPDATE_GOLDEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        Image.fromarray(found).quantize(128).save(path, optimize=True)
    kept = np.asarray(Image.open(path).convert("RGB"))
    if not like(found, kept):
        (left / f"{name}.png").write_bytes(png)
        size = f"{found.shape} for {kept.shape}" if found.shape != kept.shape else str(difference(found, kept))
        raise AssertionError(f"{name} looks other than {path.name}: {size}; it lies in {left}")
