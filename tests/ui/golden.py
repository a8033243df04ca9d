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
MEAN = 4.0  # of 255: how far blocks may differ on the average
FAR, OFTEN = 40.0, 0.02  # what part of the blocks may differ by more


def blocks(image: np.ndarray) -> np.ndarray:
    """Means over squares of pixels, shape (y, x, 3)."""
    h, w = (n // BLOCK for n in image.shape[:2])
    return np.asarray(image[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK, 3).mean(axis=(1, 3)))


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean difference of the blocks of two pictures (y, x, 3), and the part of them that differ much."""
    off = np.abs(blocks(a) - blocks(b)).max(axis=-1)
    return float(off.mean()), float((off > FAR).mean())


def like(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures look alike."""
    if a.shape != b.shape:
        return False
    mean, often = difference(a, b)
    return mean <= MEAN and often <= OFTEN


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
