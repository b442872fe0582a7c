"""Ports and the window's flags: what is free, who holds what is not, when a login is needed."""

import os
import socket
from collections.abc import Iterator

import pytest

from workbench.ports import check_free, check_login, free_port, holder, is_free, is_loopback, read_login
from workbench.problems import UserError
from workbench.text import ENGLISH
from workbench.window_flags import WindowFlags, read_window_flags

LOCALES = {"en": ENGLISH, "zh": ENGLISH}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this very process listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_free_port_is_kept_and_nothing_is_said() -> None:
    port, said = free_port("127.0.0.1", 0)
    assert said is None
    assert is_free("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == (port, None)


def test_a_taken_port_gives_the_next_free_one_and_names_its_holder(taken: int) -> None:
    port, said = free_port("127.0.0.1", taken)
    assert port > taken
    assert is_free("127.0.0.1", port)
    assert f"Port {taken} is held by " in str(said)
    assert f"(process {os.getpid()})" in str(said)
    assert str(said).endswith(f"Port {port} is used instead.")


def test_a_server_on_all_addresses_takes_the_port_too() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        assert not is_free("127.0.0.1", server.getsockname()[1])


def test_a_port_whose_old_connections_fade_is_free(taken: int) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()
    client.close()
    assert is_free("127.0.0.1", port)


def test_a_port_nobody_holds_has_no_name() -> None:
    port, _ = free_port("127.0.0.1", 0)
    assert "may not see" in str(holder(port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(UserError, match=r"is no address of this machine .* Accepted: 127\.0\.0\.1") as caught:
        free_port(host, 7860)
    assert caught.value.problems[0].key == "host"


def test_a_fixed_port_is_checked_beside_its_own_keys(taken: int) -> None:
    check_free("127.0.0.1", 0, "api_host", "api_port")
    with pytest.raises(UserError, match=f"Port {taken} is held by") as caught:
        check_free("127.0.0.1", taken, "api_host", "api_port")
    assert caught.value.problems[0].key == "api_port"
    with pytest.raises(UserError) as caught:
        check_free("203.0.113.7", taken, "api_host", "api_port")
    assert caught.value.problems[0].key == "api_host"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True), ("[::1]", True)]
    + [("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("example.org", False), ("", False)],
)
def test_more_than_loopback_needs_a_login(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    check_login(host, ("me", "secret"))
    if loopback:
        check_login(host, None)
    else:
        with pytest.raises(UserError, match="Add --auth USER:PASSWORD"):
            check_login(host, None)


def test_a_login_has_two_parts() -> None:
    assert read_login("me:se:cret") == ("me", "se:cret")
    for given, reason in (("secret", "no colon"), (":secret", "nothing before"), ("secret:", "nothing after")):
        with pytest.raises(UserError, match=reason) as caught:
            read_login(given)
        assert "secret" not in str(caught.value)
        assert caught.value.problems[0].key == "auth"


def test_the_flags_of_the_window() -> None:
    assert read_window_flags([], LOCALES) == WindowFlags("127.0.0.1", 7860, None, True, None)
    words = ["--port=8001", "--host", "0.0.0.0", "--auth", "me:pw", "--no-browser", "--lang", "zh", "--port", "9000"]
    assert read_window_flags(words, LOCALES) == WindowFlags("0.0.0.0", 9000, "zh", False, ("me", "pw"))


def test_all_problems_of_the_flags_at_once() -> None:
    with pytest.raises(UserError) as caught:
        read_window_flags(["--port", "-1", "--host", "0.0.0.0", "--lang", "fr", "--colour", "--no-browser=x"], LOCALES)
    assert sorted(problem.key or "" for problem in caught.value.problems) == ["", "host", "lang", "no-browser", "port"]
