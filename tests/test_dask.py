"""A matrix on the workers of a Dask cluster: the same factors, and what happens when workers or the scheduler go."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cli import main
from stem4d_panel.errors import Cancelled, DataError, SettingError
from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.dask_blocks import DaskBlocks
from stem4d_panel.factorize.fit import Plan, polish_steps, preview_steps
from stem4d_panel.factorize.lowrank import compress_steps
from stem4d_panel.results.store import load_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.cluster import cluster
from stem4d_panel.runtime.progress import finish, wanted_while
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not find the tests
ROWS, PIXELS = (130, 70, 200, 1, 99), 64


def part(index: int) -> np.ndarray:
    """Made on the worker, so that it can be made again."""
    rng = np.random.default_rng(3)
    W, H = rng.random((sum(ROWS), 5)).astype(np.float32), rng.random((5, PIXELS)).astype(np.float32) ** 3
    whole = rng.poisson(20 * W @ H).astype(np.float32)
    start = sum(ROWS[:index])
    return whole[start : start + ROWS[index]]


def made(client: Any, index: int) -> Any:
    """Future of a part; what has no name is sent by value, and with it what it calls."""
    return client.submit(lambda: part(index), pure=False)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster("local:2") as found:
        yield found


@pytest.fixture
def blocks(client: Any) -> DaskBlocks:
    return DaskBlocks(client, [made(client, i) for i in range(len(ROWS))], ROWS, PIXELS)


def whole() -> MemoryBlocks:
    return MemoryBlocks(np.concatenate([part(i) for i in range(len(ROWS))]))


def test_the_cluster_listens_on_this_machine_alone(client: Any) -> None:
    info = client.scheduler_info()
    addresses = [info["address"], *info["workers"], *(w["nanny"] for w in info["workers"].values())]
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    assert len(info["workers"]) == 2
    assert client.dashboard_link.startswith("http://127.0.0.1:")


def test_products_and_sums_are_those_of_the_whole(blocks: DaskBlocks) -> None:
    one, rng = whole(), np.random.default_rng(0)
    right, left = rng.random((PIXELS, 3)).astype(np.float32), rng.random((sum(ROWS), 3)).astype(np.float32)
    np.testing.assert_allclose(blocks.times(right), one.times(right), rtol=1e-5)
    np.testing.assert_allclose(blocks.transposed_times(left), one.transposed_times(left), rtol=1e-5)
    np.testing.assert_allclose(blocks.gram_times(right), one.gram_times(right), rtol=1e-5)
    assert blocks.square == pytest.approx(one.square, rel=1e-6)
    assert blocks.mean == pytest.approx(one.mean, rel=1e-6)
    assert blocks.reads == 4
    for ours, theirs in zip(blocks.split(3), one.split(3), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.times(right), theirs.times(right), rtol=1e-5)


def fit(data: Any) -> tuple[np.ndarray, np.ndarray, float]:
    low = finish(compress_steps(data, 20, 0))
    plan = Plan(5, starts=1, polish=5)
    found = finish(polish_steps(data, finish(preview_steps(low, low, plan)), plan))
    return found.W, found.H, found.error


def test_the_factors_are_those_of_one_process(blocks: DaskBlocks) -> None:
    W, H, error = fit(blocks)
    W1, H1, error1 = fit(whole())
    np.testing.assert_allclose(W @ H, W1 @ H1, rtol=1e-3, atol=1e-3 * (W1 @ H1).max())
    assert error == pytest.approx(error1, rel=1e-5)


def test_a_worker_that_is_killed_does_not_lose_the_run(client: Any, blocks: DaskBlocks) -> None:
    expected = whole().times(np.ones((PIXELS, 1), np.float32))
    np.testing.assert_allclose(blocks.times(np.ones((PIXELS, 1), np.float32)), expected, rtol=1e-5)
    held = {w for where in client.who_has(blocks.parts).values() for w in where}
    victim = sorted(held)[0]
    pid = client.run(os.getpid, workers=[victim])[victim]

    def kill() -> None:
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()

    def slow(block: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        time.sleep(0.5)
        return (block.sum(axis=1, keepdims=True),), ()

    (found,), _ = blocks.reduce_blocks(slow)
    killer.join()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_cancel_takes_effect_within_a_block(blocks: DaskBlocks) -> None:
    def slow(block: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        time.sleep(20)
        return (block,), ()

    started = time.monotonic()
    with wanted_while(lambda: time.monotonic() < started + 0.5), pytest.raises(Cancelled):
        blocks.reduce_blocks(slow)
    assert time.monotonic() < started + 5


def test_a_scheduler_that_is_lost_is_a_clear_error() -> None:
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as local,
    ):
        lost = Client(local.scheduler_address)
        parts = [made(lost, 0)]
        blocks = DaskBlocks(lost, parts, ROWS[:1], PIXELS)
        assert blocks.mean > 0
        local.close()
        with pytest.raises(DataError, match=r"--scheduler: .*lost"):
            blocks.times(np.ones((PIXELS, 1), np.float32))
        lost.close()


def test_without_any_worker_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setattr("stem4d_panel.runtime.cluster.ALONE", 0.5)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as local,
        Client(local) as empty,
        pytest.raises(DataError, match=r"--scheduler: no worker is left, or none has come in 0\.5 s"),
    ):
        _ = DaskBlocks(empty, [made(empty, 0)], ROWS[:1], PIXELS).mean


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://10.0.0.7:8786", "another machine without encryption"),
        ("http://127.0.0.1:80", "is no address"),
        ("127.0.0.1", "is no address"),
        ("tls://host", "is no address"),
        ("local:0", "names no number of workers"),
        ("local:many", "names no number of workers"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(SettingError, match=message), cluster(address):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def refuse(address: str, timeout: str) -> None:
        raise OSError(f"Timed out trying to connect to {address} after {timeout}")

    monkeypatch.setattr(distributed, "Client", refuse)
    with (
        pytest.raises(DataError, match="no scheduler answers at tls://somewhere:8786: Timed out"),
        cluster("tls://somewhere:8786"),
    ):
        pass


# -- the whole chain


@pytest.mark.parametrize(
    "changes",
    [
        {"prepare__smooth": 1.0},
        {"prepare__smooth": 0.0, "prepare__normalise": "position"},
        {"prepare__smooth": 0.7, "prepare__background": "radial", "prepare__noise": "off"},
    ],
)
def test_frames_of_the_workers_are_those_of_this_process(
    client: Any, small: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr("stem4d_panel.prepare.passes.block_bytes", lambda: 9000)  # a part of one row of the scan
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    scan = open_scan(tmp_path / "scan.npy")
    here = Analysis(scan, cache=Cache(), rank=5, **changes)
    there = Analysis(scan, cache=Cache(), client=client, rank=5, **changes)
    local = here.frames
    with monkeypatch.context() as patch:  # not a block is read by the process that asks
        patch.setattr(Scan, "blocks", lambda self, limit=None: pytest.fail("read here"))
        remote = there.frames
    for name in ("mean", "variance", "maximum", "at_maximum", "total"):
        np.testing.assert_allclose(getattr(there.survey, name), getattr(here.survey, name), rtol=1e-6)
    for name in ("measured", "fitted", "mean"):
        np.testing.assert_allclose(getattr(there.look.descan, name), getattr(here.look.descan, name), rtol=1e-6)
    assert there.look.descan.residual == pytest.approx(here.look.descan.residual, rel=1e-6)
    assert not remote.in_memory
    assert len(remote.matrix.parts) == scan.shape[0]
    matrix = np.concatenate(client.gather(list(remote.matrix.parts)))
    np.testing.assert_allclose(matrix, local.matrix, rtol=2e-4, atol=1e-5 * local.matrix.max())
    np.testing.assert_array_equal(remote.positions, local.positions)
    np.testing.assert_array_equal(remote.mask, local.mask)
    np.testing.assert_allclose(remote.mean, local.mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(remote.virtual, local.virtual, rtol=1e-4)
    assert (remote.square, remote.total) == pytest.approx((local.square, local.total), rel=1e-5)
    for name in ("maps", "patterns"):
        ours, theirs = getattr(there.factors, name), getattr(here.factors, name)
        assert np.abs(ours - theirs).max() <= 1e-3 * theirs.max()
    np.testing.assert_array_equal(there.classes.labels, here.classes.labels)
    assert there.compression.blocks.reads <= 6


def test_what_is_not_finite_is_found_on_the_workers(
    client: Any, small: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stem4d_panel.prepare.passes.block_bytes", lambda: 9000)
    data = np.asarray(small.data).astype(np.float32)
    data[3, 4, 5, 6], data[1, 2, 3, 4], data[9, 1, 1, 1] = np.nan, np.inf, -2
    np.save(tmp_path / "scan.npy", data)
    survey = Analysis(open_scan(tmp_path / "scan.npy"), cache=Cache(), client=client).survey
    assert (survey.n_nonfinite, survey.first_nonfinite, survey.n_negative) == (2, (1, 2, 3, 4), 1)


def test_a_scan_in_the_memory_of_this_process_is_refused_and_a_dask_array_is_not(client: Any, small: Scan) -> None:
    import dask.array as da

    with pytest.raises(DataError, match="small: lies in the memory of this process"):
        Analysis(small, cache=Cache(), client=client, rank=4).run("frames")
    lazy = replace(small, data=da.from_array(np.asarray(small.data), chunks=(5, 18, 32, 32)))
    found = Analysis(lazy, cache=Cache(), client=client, rank=4).factors
    assert found.maps.shape == (4, 14, 18)


def test_the_command_runs_on_workers_of_its_own(
    small: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    out = tmp_path / "out.hspy"
    assert main(["run", str(tmp_path / "scan.npy"), "-o", str(out), "--rank", "4", "--scheduler", "local:1"]) == 0
    assert load_result(out).factors.rank == 4
    refused = ["run", str(tmp_path / "scan.npy"), "-o", str(out), "--scheduler", "tcp://10.0.0.7:8786"]
    assert main(refused) == 2
    assert "another machine without encryption" in capsys.readouterr().err
