"""The client that the Chat tab and the terminal use, against our server and others; the address that a server takes."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.serving import BASE, TUNED, USER, listening
from workbench.engines import Sampling
from workbench.jobs.serve import listen, shown_url
from workbench.problems import UserError
from workbench.talk import api_base, ask, model_names


class TestTalk:
    def test_the_ending_is_in_the_servers_words(self, url: str) -> None:
        answer = ask(url, "gpt-4", USER, Sampling(max_tokens=2))
        words = []
        try:
            while True:
                words.append(next(answer))
        except StopIteration as stop:
            ending = stop.value
        assert words == [f"{TUNED}:", " hi"]
        assert ending.__dict__ == {"model": TUNED, "finish": "length", "prompt_tokens": 2, "answer_tokens": 2}

    def test_a_refusal_stays_translatable(self, url: str) -> None:
        with pytest.raises(UserError) as caught:
            list(ask(url, BASE, USER, replace(Sampling(), top_p=7.0)))
        message = caught.value.problems[0].message
        assert "answered with status 400: 'top_p' is 7.0." in str(message)
        assert message.args["reason"].key == "api.errors.invalid"

    @pytest.mark.parametrize(
        ("given", "base"),
        [
            ("http://a:1", "http://a:1/v1"),
            (" http://a:1/ ", "http://a:1/v1"),
            ("https://a/v1", "https://a/v1"),
            ("http://a/v1/chat/completions", "http://a/v1"),
            ("http://a/api/v3", "http://a/api/v3"),
        ],
    )
    def test_addresses_as_people_write_them(self, given: str, base: str) -> None:
        assert api_base(given) == base

    @pytest.mark.parametrize("given", ["", "localhost:8000", "ftp://a", "http://", "http://a:999999"])
    def test_no_address(self, given: str) -> None:
        with pytest.raises(UserError, match="is no address of a server"):
            model_names(given)

    def test_no_server_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the system has a proxy: it is not asked for this machine."""
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(UserError, match="No server answers at http://127.0.0.1"):
                list(ask(shown_url(free.getsockname()), BASE, USER))

    def test_a_server_of_another_kind(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"<h1>Hello</h1>"})

        with listening(app) as url:
            for call in (lambda: model_names(url), lambda: list(ask(url, BASE, USER))):
                with pytest.raises(UserError, match="is not OpenAI's chat API: <h1>Hello"):
                    call()


class TestListen:
    def test_a_taken_port_is_named(self) -> None:
        with listen("127.0.0.1", 0, has_key=False) as taken:
            port = taken.getsockname()[1]
            assert port > 0
            with pytest.raises(UserError, match=f"Port {port} is taken") as caught:
                listen("127.0.0.1", port, has_key=False)
            assert caught.value.problems[0].key == "api_port"
        listen("127.0.0.1", port, has_key=False).close()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_other_machines_come_in_only_with_a_key(self, host: str) -> None:
        with pytest.raises(UserError, match="no key is set") as caught:
            listen(host, 0, has_key=False)
        assert caught.value.problems[0].key == "api_host"
        with listen("0.0.0.0", 0, has_key=True) as listener:
            assert shown_url(listener.getsockname()).startswith("http://127.0.0.1:")

    @pytest.mark.parametrize("host", ["no such host", "198.51.100.7", "a" * 300])
    def test_an_address_that_is_not_ours(self, host: str) -> None:
        with pytest.raises(UserError, match="is no address of this machine") as caught:
            listen(host, 0, has_key=True)
        assert caught.value.problems[0].key == "api_host"

    def test_addresses_are_shown_as_a_client_needs_them(self) -> None:
        assert shown_url(("::1", 80, 0, 0)) == "http://[::1]:80"
        assert shown_url(("::", 80, 0, 0)) == "http://[::1]:80"
        assert shown_url(("127.0.0.1", 80)) == "http://127.0.0.1:80"
