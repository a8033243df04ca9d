"""The address of a page: what is written is read back, and nothing outside the folder is reached."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from sessions import run

from stem4d_panel import Workbench
from stem4d_panel.analysis import Analysis
from stem4d_panel.app.address import read, write
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def arguments(query: str) -> dict[str, list[bytes]]:
    """As the server hands them over."""
    found = parse_qs(query.removeprefix("?"), keep_blank_values=True)
    return {name: [value.encode() for value in values] for name, values in found.items()}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "sub & more").mkdir()
    path = tmp_path / "sub & more" / "it's 50 %+β.h5"
    path.touch()
    settings = Settings.make(
        {"rank": 20, "threshold": 0.1 + 0.2, "cluster.names": "20: 0=a & b + β#%, 1=c", "calibration.voltage": 300}
    )
    query = write(settings, Settings.make(), (path, "/a b/data"), None, tmp_path)
    assert query.isascii()
    assert str(tmp_path) not in query
    place = read(arguments(query), tmp_path)
    assert (place.path, place.dataset, place.refusals) == (path.resolve(), "/a b/data", ())
    assert Settings.make(place.changes) == settings
    assert "factorize.rank" in place.changes  # its default, but stated
    assert write(Settings.make(), Settings.make(), (None, None), None, tmp_path) == ""
    assert write(Settings.make(), Settings.make(), (path, None), path, tmp_path) == ""  # the page begins with it
    assert write(Settings.make(), Settings.make(), ("/elsewhere/x.h5", None), None, tmp_path) == ""
    sample = read(arguments(write(Settings.make(), Settings.make(), (None, None), path, tmp_path)), tmp_path)
    assert sample.sample
    saved = Settings.make({"threshold": 0.4})  # a result's own settings, from which one is taken back
    back = read(arguments(write(Settings.make(), saved, (None, None), None, None)), None)
    assert back.changes == {"cluster.threshold": None}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("file=../secret.h5", "secret.h5: lies outside the folder that is served"),
        ("file=/etc/passwd", "passwd: lies outside the folder that is served"),
        ("file=link.h5", "link.h5: lies outside the folder that is served"),
        ("file=gone.h5", "gone.h5: no such file or folder"),
        ("file=%00", "no such file or folder"),
        ("rank=0", "factorize.rank: 0 is not allowed"),
        ("rank=nan", "rank: 'nan' is not allowed"),
        ("unknown=1", "unknown: no such parameter"),
        ("component=-1", "component: -1 is not a whole number"),
        ("at=3", "at: 3 is not 2 whole numbers"),
        ("cluster.names=" + "x" * 3000, "cluster.names: has 3000 characters, 2000 are taken"),
    ],
)
def test_what_is_refused_is_said_and_the_rest_is_taken(tmp_path: Path, query: str, says: str) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (tmp_path / "secret.h5").touch()
    (folder / "link.h5").symlink_to(tmp_path / "secret.h5")
    place = read(arguments(f"?{query}&prepare.bin=2"), folder)
    assert place.path is None
    assert place.changes == {"prepare.bin": 2}
    assert len(place.refusals) == 1
    assert says in place.refusals[0]
    assert place.refusals[0].isprintable()


def test_a_workbench_begins_where_its_address_says(small: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    query = arguments("file=scan.npy&rank=4&threshold=0.5&rubbish=1")
    workbench = Workbench(folder=tmp_path, address=query)
    run(workbench.session)
    assert workbench.session.shown.name == "scan.npy"
    assert workbench.session.shown.factors.rank == 4
    assert workbench.session.shown.classes.threshold == 0.5
    assert workbench.session.message == ("warning", workbench.session.message[1])
    assert "rubbish: no such parameter" in workbench.session.message[1]
    workbench.close()


def test_what_is_chosen_is_in_the_address_and_chosen_again(small: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    first = Workbench(tmp_path / "scan.npy", folder=tmp_path, rank=4)
    run(first.session)
    first.session.choose_component(3)
    first.session.choose_region(2, 3, 5, 9)
    base, opened = Settings.make(), (tmp_path / "scan.npy", None)
    query = write(base, base, opened, opened[0], tmp_path, first.session)
    assert query == "?component=3&region=2,3,5,9"
    first.close()
    again = Workbench(tmp_path / "scan.npy", folder=tmp_path, rank=4, address=arguments(query))
    run(again.session)
    assert (again.session.component, again.session.region) == (3, (2, 3, 5, 9))
    again.session.choose_class(0)
    again.session.choose_point(4, 5)
    assert write(base, base, opened, opened[0], tmp_path, again.session) == "?class=0&at=4,5"
    again.close()
    other = Workbench(tmp_path / "scan.npy", folder=tmp_path, rank=4, address=arguments("component=99&at=400,5"))
    said: list[str] = []
    other.session.param.watch(lambda e: said.append(e.new[1]), "message", onlychanged=False)
    run(other.session)
    assert (other.session.component, other.session.point) == (None, None)
    assert "component: 99 is not there, so nothing is chosen" in said
    assert "at: 400, 5 is not there, so nothing is chosen" in said
    other.close()


def test_a_result_goes_on_from_its_scan(small: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    analysis = Analysis(tmp_path / "scan.npy", rank=4, cluster__names="4: 0=B2")
    analysis.save(tmp_path / "saved.hspy")
    workbench = Workbench(folder=tmp_path, address=arguments("file=saved.hspy&threshold=0.5&rank=3"))
    session = workbench.session
    run(session)
    assert session.result is not None
    assert session.settings.cluster.threshold == 0.5
    assert "a saved result holds no frames" in session.message[1]  # of the rank
    assert workbench._scan.button.visible
    workbench._scan.button.clicks += 1
    run(session)
    assert session.result is None
    assert not workbench._scan.button.visible
    assert session.analysis.scan.name == "scan.npy"
    assert session.settings.cluster.names == "4: 0=B2"
    assert session.settings.explicit == {"factorize.rank", "cluster.names", "cluster.threshold"}
    np.testing.assert_array_equal(session.shown.factors.maps, analysis.factors.maps)
    # another scan takes the settings, and says that it is another
    session.open(tmp_path / "saved.hspy")
    run(session)
    np.save(tmp_path / "other.npy", np.asarray(small.data)[:12])
    said: list[str] = []
    session.param.watch(lambda e: said.append(e.new[1]), "message", onlychanged=False)
    session.open(tmp_path / "other.npy")
    run(session)
    assert any("this is not the scan of the saved result" in text for text in said)
    assert session.settings.cluster.names is None
    assert session.settings.factorize.rank == 4
    # without its scan beside it, a result says what it is of
    (tmp_path / "scan.npy").unlink()
    session.open(tmp_path / "saved.hspy")
    run(session)
    assert not workbench._scan.button.visible
    assert any("open its scan, scan.npy, which is not beside it" in text for text in said)
    workbench.close()


def test_a_page_whose_data_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "broken.h5").write_text("not a file of that kind")
    workbench = Workbench(tmp_path / "broken.h5", folder=tmp_path)
    run(workbench.session)
    assert workbench._alert.object == (
        "broken.h5: not an HDF5 file. Choose another file on the left, or the simulated sample"
    )
    workbench.close()
