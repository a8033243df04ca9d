"""Turning patterns onto each other, many times over, and fitting their rotations to a mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

from stem4d_panel.cluster.patterns import PatternSet, compare
from stem4d_panel.cluster.polar import filled, spectra, to_polar, turned, turned_back

_REACH = 5.0  # degrees about the rotation of the merges in which the refined one is sought
_ROUNDS = 20  # at most: a turn leaves its error in the mean that the others are fitted to
_SETTLED = 0.02  # degrees


class Turner:
    """Patterns made ready once (masked pixels filled by their ring's mean, spline coefficients, azimuthal spectra).

    Parameters
    ----------
    patterns : ndarray, shape (k, ky, kx)
    mask : ndarray, shape (ky, kx), bool
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    """

    def __init__(self, patterns: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> None:
        self._patterns, self._mask, self._centre = patterns, mask, np.array(centre)
        offsets = np.indices(mask.shape) - self._centre[:, None, None]
        self._offsets = offsets[:, mask]
        radius = np.hypot(*offsets)
        self._coefficients = [ndimage.spline_filter(filled(p.astype(np.float64), mask, radius)) for p in patterns]
        polar = to_polar(patterns, mask, centre)
        self._angles = polar.values.shape[2]
        self._spectrum = spectra(polar, "ring")

    def back(self, members: Sequence[int], rotations: Sequence[float], mirrored: Sequence[bool]) -> np.ndarray:
        """Patterns turned back by their rotations, and mirrored back, shape (n, ky, kx), float32; masked pixels zero.

        Parameters
        ----------
        members : sequence of int
        rotations : sequence of float
            Degrees by which each is turned, from +kx towards +ky.
        mirrored : sequence of bool
            Whether it was mirrored at the kx axis before it was turned.
        """
        out = np.zeros((len(members), *self._mask.shape), np.float32)
        for n, (i, rotation, mirror) in enumerate(zip(members, rotations, mirrored, strict=True)):
            if rotation == 0 and not mirror:
                out[n] = self._patterns[i]
                continue
            cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
            ky, kx = self._offsets[0] * (-1 if mirror else 1), self._offsets[1]
            at = np.stack([cos * ky + sin * kx, cos * kx - sin * ky]) + self._centre[:, None]
            values = ndimage.map_coordinates(self._coefficients[i], at, order=3, mode="nearest", prefilter=False)
            out[n][self._mask] = np.maximum(values, 0)
        return out

    def autocorrelation(
        self, members: Sequence[int], weights: np.ndarray, rotations: Sequence[float], mirrored: Sequence[bool]
    ) -> np.ndarray:
        """Correlation of the sum of patterns turned back with itself over the angle, shape (angles,); 1 at no turn.

        0 throughout for an empty pattern. The means of the rings are removed.
        """
        total = np.zeros(self._spectrum.shape[1:], np.complex64)
        for i, rotation, mirror in zip(members, rotations, mirrored, strict=True):
            total += np.float32(weights[i]) * turned_back(self._spectrum[i], rotation, mirror)
        curve = fft.irfft((np.abs(total) ** 2).sum(axis=1), n=self._angles)
        return np.asarray(curve / curve[0] if curve[0] > 0 else np.zeros(self._angles))

    def match(
        self,
        members: Sequence[int],
        rotations: Sequence[float],
        mirrored: Sequence[bool],
        others: Sequence[int],
        weights: np.ndarray,
        mirror: bool,
    ) -> tuple[float, bool]:
        """Rotation in degrees of other patterns, as they lie, against the sum of members turned back; over all angles.

        Parameters
        ----------
        members, rotations, mirrored : sequence of int, of float and of bool
            As in :meth:`back`.
        others : sequence of int
            Components that are turned alike.
        weights : ndarray, shape (k,)
            Weight of every component's pattern.
        mirror : bool
            Whether they may match mirrored at the kx axis, then turned; the second value says if they do.
        """
        total = np.zeros(self._spectrum.shape[1:], np.complex64)
        for i, rotation, flip in zip(members, rotations, mirrored, strict=True):
            total += np.float32(weights[i]) * turned_back(self._spectrum[i], rotation, flip)
        other = np.tensordot(weights[list(others)], self._spectrum[list(others)], 1)
        silent = np.zeros((1, self._spectrum.shape[2]))
        one, two = (PatternSet(s[None], silent, self._angles, False) for s in (total, other))
        _, turn, flipped = compare(one, two, mirror)
        return float(turn[0]), bool(flipped[0])

    def refine(
        self,
        groups: Sequence[Sequence[int]],
        weights: np.ndarray,
        rotations: Sequence[float],
        mirrored: Sequence[bool],
    ) -> list[float]:
        """Rotations of groups, each fitted to the mean of the other groups, the first group's kept.

        Parameters
        ----------
        groups : sequence of sequences of int
            Components that are turned alike: parts of one crystal.
        weights : ndarray, shape (k,)
            Weight of every component's pattern.
        rotations, mirrored : sequence of float and of bool
            One for each group.
        """
        sums = np.array([np.tensordot(weights[list(g)], self._spectrum[list(g)], 1) for g in groups])
        sums = np.where(np.array(mirrored)[:, None, None], sums.conj(), sums)
        sign = np.where(mirrored, -1.0, 1.0)  # mirrored back, a pattern turned by +r is turned by -r
        start = turns = np.array(rotations, float) * sign
        for _ in range(_ROUNDS):
            back = np.array([turned(s, -t) for s, t in zip(sums, turns, strict=True)])
            mean = back.sum(axis=0)
            fitted = turns.copy()
            for n in range(len(groups)):
                cross = ((mean - back[n]).conj() * back[n]).sum(axis=1)
                fitted[n] += self._nearest(cross)
            fitted = np.clip(fitted + turns[0] - fitted[0], start - _REACH, start + _REACH)
            settled = np.abs(fitted - turns).max() < _SETTLED
            turns = fitted
            if settled:
                break
        return list(turns * sign)

    def _nearest(self, cross: np.ndarray) -> float:
        """Step to the maximum of a correlation curve within a few degrees of 0, between the samples; 0 on a flat one."""
        curve = fft.irfft(cross, n=self._angles)
        step = 360 / self._angles
        reach = round(_REACH / step)
        near = np.take(curve, np.arange(-reach - 1, reach + 2), mode="wrap")
        if np.ptp(near) == 0:
            return 0.0
        top = int(near[1:-1].argmax()) + 1
        left, middle, right = near[top - 1 : top + 2]
        bend = left - 2 * middle + right
        between = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
        return float((top - reach - 1 + between) * step)
