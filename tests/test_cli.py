"""The terminal's help, doctor, chat and api, and the real program; no model is loaded."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Tell
from workbench.cli.commands import doctor
from workbench.problems import UserError
from workbench.runs import list_runs
from workbench.sampling import SamplingSpec
from workbench.specs import ServeSpec, TrainSpec
from workbench.talk import ask, model_names
from workbench.workspace import Workspace, source_folder


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("train", list(TrainSpec.knobs())),
        ("api", list(ServeSpec.knobs())),
        ("chat", [*ServeSpec.knobs(), *SamplingSpec.knobs()]),
    ],
)
def test_help_tells_every_field(command: str, keys: list[str], tell: Tell) -> None:
    code, out, err = tell(command, "--help")
    assert (code, err) == (0, "")
    assert len(keys) >= 10
    assert [key for key in keys if f"  --{key}  (" not in out] == []
    assert f"Usage: python app.py {command}" in out


def test_help_tells_what_a_field_is_and_takes(tell: Tell) -> None:
    out = " ".join(tell("train", "-h")[1].split())
    assert "--learning_rate (Learning rate) Peak learning rate" in out
    assert "Accepted: a number above 0 and below 1. Default: 3e-4." in out
    assert "it goes on" in out, "that closing the terminal does not end the run"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_exactly_the_commands_that_are_there(words: list[str], tell: Tell) -> None:
    code, out, _ = tell(*words)
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and not line.startswith("  --")]
    assert code == 0
    assert listed == ["api", "chat", "data", "doctor", "eval", "export", "replay", "report", "runs", "train"]


def test_doctor_finds_what_is_missing(tell: Tell, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.cli.commands.doctor._devices", lambda: iter(()))
    code, out, _ = tell("doctor")
    assert code == 0, out
    assert "pydantic" in out
    assert "2 datasets" in out
    (workspace.data / "dataset_info.json").write_text('{"plain": {"file_name": "plain.json"}, "b": {}}', "utf-8")
    code, out, _ = tell("doctor")
    assert code == 1
    assert "MISSING" in out
    assert "'b'" in out


def test_doctor_names_a_package_that_is_not_there(
    tell: Tell, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("pydantic==0.0.1\nno-such-package==1.0\nonly-elsewhere==1.0; sys_platform == 'x'\n", "utf-8")
    found = list(doctor._packages(file))
    assert [finding.weight for finding in found] == ["note", "missing", "note"]
    assert "no-such-package is not installed. Needed: 1.0." in str(found[1].message)


def program(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "app.py", *words],
        cwd=source_folder(),
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_program_refuses_bad_input_without_a_traceback() -> None:
    done = program("train", "learning_rate=abc", "lora_rnk=8", "--seed")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.partition(":")[0] for line in done.stderr.splitlines()][:3] == ["seed", "lora_rnk", "learning_rate"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "abc"], "port: Port is 'abc'."),
        (["--port", "70000"], "port: Port is '70000'."),
        (["--host", "0.0.0.0"], "host: Host '0.0.0.0' lets other machines in, and no login was given."),
        (["--host", "0.0.0.0", "--auth", "secret"], "auth: The login is not of the form"),
        (["--prot", "1"], "Did you mean --port?"),
        (["--auth"], "auth: --auth has no value."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_window_refuses_bad_flags(words: list[str], said: str) -> None:
    done = program(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_neither_way_loads_what_it_does_not_need() -> None:
    """A command does not import the window, bad flags of the window import no command, and nobody imports torch."""
    code = (
        "import sys, app\n"
        "app.main(sys.argv[1:])\n"
        "heavy = ('torch', 'transformers', 'gradio', 'workbench.ui', 'workbench.cli')\n"
        "print('\\n' + ' '.join(name for name in heavy if name in sys.modules))\n"
    )

    def loaded(*words: str) -> list[str]:
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=source_folder(), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()[-1].split()

    assert loaded("train", "--help") == ["workbench.cli"]
    assert loaded("runs", "list") == ["workbench.cli"]
    assert loaded("--port", "abc") == []


@pytest.mark.slow
def test_chat_talks_through_a_real_server(tell: Tell, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that repeats the question answers; afterwards neither its process nor its folder is left."""
    lines = workspace.root / "lines"
    lines.write_text("Hello there\n/base\n/clear\n/nope\nOnce more\n/bye\nNot read\n", "utf-8")
    with lines.open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, err = tell("chat", "--infer_backend", "echo")
    assert (code, err) == (0, "")
    assert "base: Hello there\n" in out
    assert "base: Once more\n" in out
    assert "There is only base here" in out
    assert "'/nope' is no command of the chat." in out
    assert "Not read" not in out
    assert list((workspace.saves / ".serve").iterdir()) == []


def test_api_refuses_a_taken_port(tell: Tell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = tell("api", "infer_backend=echo", f"api_port={port}")
    assert code == 2
    assert out == ""
    assert err.startswith(f"api_port: Port {port} is held by ")
    assert f"(process {os.getpid()})" in err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_api_answers_until_it_is_ended_and_leaves_nothing(number: int, code: int, workspace: Workspace) -> None:
    start = "import signal, sys; from pathlib import Path; from workbench.cli import main; from workbench.workspace import *\n"
    # A shell's background job, as CI may be, ignores Ctrl-C, and so would every process that it starts.
    start += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    start += f"sys.exit(main(sys.argv[1:], Workspace(Path({str(workspace.root)!r}))))"
    words = ["api", "infer_backend=echo", "--api_port", "0"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    server = subprocess.Popen(
        [sys.executable, "-c", start, *words], cwd=source_folder(), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        ready = next(line for line in server.stdout if line.startswith("Ready: "))
        url = ready.split()[1]
        assert model_names(url) == ["base"]
        assert "".join(ask(url, "base", [{"role": "user", "content": "Hello"}])) == "base: Hello"
        assert [run.state() for run in list_runs(workspace, "serve")] == ["running"]
        server.send_signal(number)
        assert server.wait(20) == code
    finally:
        server.kill()
        server.communicate()
    assert list((workspace.saves / ".serve").iterdir()) == []
    with pytest.raises(UserError):
        model_names(url)
