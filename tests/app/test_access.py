"""Who may reach the server, without a server: what the command line may ask for, hosts and origins, tokens and logins."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from stem4d_panel.app.access import Access, Place, plan_access
from stem4d_panel.app.login import Logins, page
from stem4d_panel.errors import SettingError

TOKEN = "a-token-of-20-letters"  # noqa: S105
ANY = "0.0.0.0"  # noqa: S104 - nothing listens there


def token_file(folder: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(**asked: object) -> str:
    asked = {"environment": {}, **asked}
    with pytest.raises(SettingError) as error:
        plan_access(**asked)
    text = str(error.value)
    assert "\n" not in text
    assert TOKEN not in text
    return text


# ---- what may be asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", [ANY, "::", "192.0.2.7", "example.org", "0", "127.1", "::ffff:127.0.0.1", "host.localhost"]
)
def test_beyond_this_machine_a_token_is_needed(host: str, tmp_path: Path) -> None:
    assert "it takes a token" in refused(host=host)
    assert plan_access(host, insecure=True, environment={}).token is None
    assert plan_access(host, token_file(tmp_path), environment={}).token == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost", "LOCALHOST"])
def test_this_machine_does_without(host: str) -> None:
    access = plan_access(host, environment={})
    assert access.token is None
    assert access.is_local


def test_the_token_is_taken_out_of_the_environment_and_the_file_goes_first(tmp_path: Path) -> None:
    environment = {"STEM4D_TOKEN": f" {TOKEN}2\n"}
    assert plan_access(ANY, token_file(tmp_path, TOKEN + "\n"), environment=environment).token == TOKEN
    access = plan_access(ANY, environment=environment)
    assert access.token == TOKEN + "2"
    assert environment == {}
    assert TOKEN not in repr(access)


@pytest.mark.parametrize(
    "text",
    ["", " ", "short", "x" * 15, "y" * 1025, "sixteen characters apart", "sechzehnzéichen_", "a" * 9 + "\n" + "b" * 9],
)
def test_a_bad_token_is_refused(text: str, tmp_path: Path) -> None:
    assert "STEM4D_TOKEN" in refused(host=ANY, environment={"STEM4D_TOKEN": text}, insecure=True)
    assert "--token-file: token" in refused(token_file=token_file(tmp_path, text))


def test_a_token_file_must_be_there_and_its_owners_alone(tmp_path: Path) -> None:
    assert "No such file" in refused(token_file=tmp_path / "none")
    assert "Is a directory" in refused(token_file=tmp_path)
    if os.name == "posix":
        for mode in (0o644, 0o640, 0o602):
            assert f"(mode {mode:o}); chmod 600 it" in refused(token_file=token_file(tmp_path, mode=mode))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"host": ""}, "--host: ''"),
        ({"host": "*"}, "--host: '*'"),
        ({"host": "127.0.0.1/x"}, "--host: "),
        ({"max_sessions": 0}, "--max-sessions: 0"),
        ({"prefix": "/a/../b"}, "--prefix: '/a/../b'"),
        ({"prefix": "/a//b"}, "--prefix: "),
        ({"prefix": "/(.*)"}, "--prefix: "),
        ({"prefix": "/a?b"}, "--prefix: "),
        ({"origins": ["*"]}, "--allow-origin: '*'"),
        ({"origins": ["*.example.org"]}, "--allow-origin: "),
        ({"origins": ["https://example.org"]}, "--allow-origin: "),
        ({"origins": ["example.org:port"]}, "--allow-origin: "),
        ({"origins": ["user@example.org"]}, "--allow-origin: "),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, object], says: str) -> None:
    assert says in refused(**asked)


def test_prefixes_are_taken_with_and_without_slashes() -> None:
    for text in ("user/ada%40x/proxy", "/user/ada%40x/proxy/", "/user/ada%40x/proxy"):
        assert plan_access(prefix=text, environment={}).prefix == "/user/ada%40x/proxy"
    assert plan_access(prefix="/", environment={}).prefix == ""
    assert Access(prefix="/a").url(7) == "http://127.0.0.1:7/a/"
    assert Access("::1").url(7) == "http://[::1]:7"


# ---- hosts and origins -----------------------------------------------------------------------------------------------

HUB = Access(origins=(Place("hub.example.org"),))
EVIL = (
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example:5006",
    "127.0.0.1@evil.example",
)


@pytest.mark.parametrize("host", ["127.0.0.1:5006", "localhost:5006", "LocalHost", "[::1]:5006", "localhost:9999"])
def test_the_names_of_this_machine_are_known(host: str) -> None:
    assert Access().knows(host)
    assert HUB.knows(host)
    assert Access(ANY).knows(host)


@pytest.mark.parametrize(
    "host",
    [*EVIL, None, "", "192.0.2.7", "localhost:", "localhost,evil.example", "localhost:x", "hub.example.org", "[::1"],
)
def test_other_names_are_not(host: str | None) -> None:
    assert not Access().knows(host)


def test_beyond_this_machine_addresses_are_known_and_other_names_are_not() -> None:
    access = Access(ANY, origins=(Place("lab.example.org", 8443),))
    assert access.knows("192.0.2.7:5006")
    assert access.knows("[2001:db8::7]:5006")
    assert access.knows("lab.example.org")
    assert not any(map(access.knows, EVIL))
    assert Access("lab.example.org").knows("lab.example.org:5006")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:5006", "127.0.0.1:5006"),
        ("http://localhost:9999", "localhost:9999"),
        ("http://[::1]:5006", "[::1]:5006"),
        ("https://hub.example.org", "127.0.0.1:5006"),
        ("https://hub.example.org", "hub.example.org:443"),
        ("https://hub.example.org:443", "hub.example.org"),
    ],
)
def test_pages_of_this_server_are_its_own(origin: str, host: str) -> None:
    assert HUB.is_own(origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        *(f"http://{name}" for name in EVIL), None, "", "null", "http://127.0.0.1:5007", "http://127.0.0.1", "http://localhost:5006",
        "ftp://127.0.0.1:5006", "http://127.0.0.1:5006/", "http://127.0.0.1:5006.evil.example", "127.0.0.1:5006",
        "http://hub.example.org.evil.example", "https://hub.example.org:8443", "http://[", "file://",
    ],
)  # fmt: skip
def test_pages_of_others_are_not(origin: str | None) -> None:
    assert not HUB.is_own(origin, "127.0.0.1:5006")


# ---- logins ----------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_browser_is_known_by_a_text_that_is_not_the_token() -> None:
    logins = Logins(TOKEN)
    one, two = logins.enter(TOKEN, "a"), logins.enter(TOKEN, "a")
    assert one is not None
    assert two is not None
    assert len({one, two, TOKEN}) == 3
    assert TOKEN not in one
    assert len(one) >= 32
    assert logins.holds(one)
    assert logins.holds(two)
    for wrong in (TOKEN, "", one[:-1], one + "x", "é"):
        assert not logins.holds(wrong)
    for wrong in (TOKEN[:-1], TOKEN + "x", "", "é" * 20, TOKEN.upper(), "\ud800"):
        assert logins.enter(wrong, "a") is None


def test_a_login_ends_a_day_after_its_last_use() -> None:
    clock = Clock()
    logins = Logins(TOKEN, clock)
    known = logins.enter(TOKEN, "a") or ""
    for hours in (23, 46, 69):
        clock.now = hours * 3600.0
        assert logins.holds(known)
    clock.now += 25 * 3600
    assert not logins.holds(known)
    assert not logins.holds(known)


def test_who_guesses_has_to_wait_and_others_have_not() -> None:
    clock = Clock()
    logins = Logins(TOKEN, clock)
    for _ in range(10):
        assert not logins.must_wait("a")
        assert logins.enter("wrong", "a") is None
    assert logins.must_wait("a")
    assert not logins.must_wait("b")
    clock.now = 61
    assert not logins.must_wait("a")


def test_logins_and_guesses_do_not_fill_the_memory() -> None:
    logins = Logins(TOKEN)
    first = logins.enter(TOKEN, "a") or ""
    for i in range(1100):
        logins.enter(TOKEN, "a")
        logins.enter("wrong", str(i))
    assert not logins.holds(first)
    assert len(logins._last) == len(logins._wrong) == 1000


def test_a_page_shows_text_literally() -> None:
    text = page("<script>x</script>", '/"><script>')
    assert "<script>" not in text
    assert re.search(r'action="/&quot;&gt;&lt;script&gt;"', text)
