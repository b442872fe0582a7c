"""LLaMA-Factory in a virtual environment of its own. Knows its command and nothing of what is asked of it."""

from pathlib import Path


def command(peer: Path | None) -> Path:
    """Its command, whole; SystemExit where there is none."""
    found = peer.absolute() / "bin" / "llamafactory-cli" if peer else None
    if found is None or not found.is_file():
        raise SystemExit(f"--peer is '{peer}'. Accepted: a virtual environment with LLaMA-Factory in it. Name one.")
    return found
