"""A merge looked at: what its branches are, and the second turned back onto the first."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.classes import ClassMaker
from stem4d_panel.cluster.joined import joined
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.settings import Settings


def zero_mean(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return image[mask] - image[mask].mean()


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Analysis(sample_scan(), Settings.make({"rank": 14}), cache=Cache())


def test_branches_of_a_merge_are_those_of_the_tree_and_lie_alike_once_turned_back(analysis: Analysis) -> None:
    tree, factors = analysis.tree, analysis.factors
    maker = ClassMaker(factors, tree, analysis.frames.centre)
    below = tree.leaves()
    turned = 0
    for row, merge in enumerate(tree.merges):
        found = joined(maker, row)
        assert tuple(map(set, found.members)) == tuple(set(below[int(i)]) for i in merge[:2])
        assert 0 <= found.rotation < 360
        if tree.kind[row] == "rotation" and tree.similarity[row] > 0.7:
            ours = np.corrcoef(zero_mean(found.first, factors.mask), zero_mean(found.second, factors.mask))[0, 1]
            as_it_lay = maker.branch(int(merge[1]))[0]
            before = np.corrcoef(zero_mean(found.first, factors.mask), zero_mean(as_it_lay, factors.mask))[0, 1]
            assert ours > 0.7
            if 5 < found.rotation < 355:
                assert ours > before
            turned += 1
    assert turned >= 3  # three structures of three or four crystals each
