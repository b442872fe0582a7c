"""One file over HTTP: continued where it broke off, checked by its digest, in place only when whole. Knows no hub."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

READ_BYTES = 1 << 20
PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Remote:
    """A file on a server. ``digest`` is the hex of a sha256, or of git's own sha1 when it has 40 digits."""

    url: str
    size_bytes: int
    digest: str | None = None


class Broken(Exception):
    """The connection failed as often as was allowed; what came is kept."""

    def __init__(self, done_bytes: int, reason: str) -> None:
        self.done_bytes, self.reason = done_bytes, reason
        super().__init__(reason)


class Refused(Exception):
    """The server said no. ``code`` is its own word for it, empty if it has none."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        self.status, self.code, self.reason = status, code, reason
        super().__init__(f"{status} {reason}")


class Damaged(Exception):
    """What came is not what was announced; it was thrown away."""

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(f"{found} instead of {expected}")


class _Passing(Exception):
    """A failure that may be over a second later."""


class _Partial:
    """The bytes of one file that are on disk so far, and the running digest over them."""

    def __init__(self, remote: Remote, path: Path) -> None:
        self.remote, self.path = remote, path
        self.done_bytes, self.hasher = 0, _hasher(remote)
        for block in _blocks(path) if path.is_file() else ():
            self.count(block)
        if self.done_bytes > remote.size_bytes:
            self.restart()

    def count(self, block: bytes) -> None:
        self.done_bytes += len(block)
        self.hasher.update(block)

    def restart(self) -> None:
        """Throw away what came so far."""
        self.path.unlink(missing_ok=True)
        self.done_bytes, self.hasher = 0, _hasher(self.remote)

    def settle(self, target: Path) -> None:
        """Put the file in place, or throw it away if it is not what was announced."""
        expected = self.remote.digest
        if self.done_bytes != self.remote.size_bytes or (expected and self.hasher.hexdigest() != expected):
            found, wanted = (
                (self.hasher.hexdigest(), expected) if expected else (self.done_bytes, self.remote.size_bytes)
            )
            self.restart()
            raise Damaged(str(found), str(wanted))
        with self.path.open("ab") as file:
            os.fsync(file.fileno())
        os.replace(self.path, target)


def download(
    client: "httpx.Client", remote: Remote, target: Path, moved: Callable[[int], None], pauses_s: Sequence[float]
) -> None:
    """Bring the file to ``target``; ``moved`` hears how many of its bytes are on disk.

    A broken connection is tried again after each of the pauses, counted anew whenever something came through.
    Raises Broken, Refused or Damaged; whatever ``moved`` raises passes through, and the next call goes on from there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _is_whole(remote, target):
        moved(remote.size_bytes)
        return
    # The mark keeps the beginning of one version from being continued with the end of another.
    mark = (remote.digest or str(remote.size_bytes))[:12]
    partial = _Partial(remote, target.with_name(f"{target.name}.{mark}.partial"))
    moved(partial.done_bytes)
    pauses = iter(pauses_s)
    while partial.done_bytes < remote.size_bytes:
        before, reason = partial.done_bytes, "it ended early"
        try:
            _receive(client, partial, moved)
        except _Passing as error:
            reason = str(error)
        if partial.done_bytes >= remote.size_bytes:
            break
        if partial.done_bytes > before:
            pauses = iter(pauses_s)
        pause_s = next(pauses, None)
        if pause_s is None:
            raise Broken(partial.done_bytes, reason)
        time.sleep(pause_s)
    partial.settle(target)
    moved(remote.size_bytes)


def _receive(client: "httpx.Client", partial: _Partial, moved: Callable[[int], None]) -> None:
    """One request for the rest of the file; _Passing when the wire or a busy server fails it."""
    import httpx

    # An encoding would make sizes, ranges and digests speak of other bytes than those on disk.
    headers = {"Accept-Encoding": "identity"}
    if partial.done_bytes:
        headers["Range"] = f"bytes={partial.done_bytes}-"
    told = partial.done_bytes
    try:
        with client.stream("GET", partial.remote.url, headers=headers) as response:
            _check(response, partial)
            with partial.path.open("ab") as file:
                for block in response.iter_raw():
                    file.write(block)
                    partial.count(block)
                    if partial.done_bytes - told >= READ_BYTES:
                        told = partial.done_bytes
                        moved(min(told, partial.remote.size_bytes))
                    if partial.done_bytes > partial.remote.size_bytes:
                        return
    except httpx.RequestError as error:
        raise _Passing(str(error) or type(error).__name__) from error


def _check(response: "httpx.Response", partial: _Partial) -> None:
    """Whether the answer is the file's rest; from its start on, if the server knows no ranges."""
    if response.status_code == 416:
        partial.restart()
        raise _Passing("the server has no such range")
    if response.status_code in PASSING:
        raise _Passing(f"{response.status_code} {response.reason_phrase}")
    if not response.is_success:
        raise refusal(response)
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if partial.done_bytes and (response.status_code != 206 or not start or int(start[1]) != partial.done_bytes):
        partial.restart()
        if response.status_code == 206:
            raise _Passing("the server sent another part than was asked for")


def refusal(response: "httpx.Response") -> Refused:
    """An answer that is no success, in the server's own words where it gives any."""
    headers = response.headers
    reason = headers.get("X-Error-Message") or response.reason_phrase
    return Refused(response.status_code, headers.get("X-Error-Code", ""), reason)


def _hasher(remote: Remote) -> "hashlib._Hash":
    if remote.digest and len(remote.digest) == 40:
        return hashlib.sha1(f"blob {remote.size_bytes}\0".encode(), usedforsecurity=False)
    return hashlib.sha256()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield block


def _is_whole(remote: Remote, path: Path) -> bool:
    """Whether the file is in place already, as announced."""
    if not path.is_file() or path.stat().st_size != remote.size_bytes:
        return False
    hasher = _hasher(remote)
    for block in _blocks(path):
        hasher.update(block)
    return remote.digest in (None, hasher.hexdigest())
