"""Addresses to listen on: which port is free, who holds a taken one, and when a login is needed. Knows no server."""

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator

import psutil

from workbench.problems import Problem, UserError
from workbench.text import Message, Text

LAST_PORT = 65_535
TRIES = 100
CONNECT_PATIENCE_S = 0.5
LOOPBACK_NAMES = ("localhost", "ip6-localhost")


class Say:
    taken = Text("Port {given} is held by {holder}. Port {chosen} is used instead.")
    taken_always = Text("Port {given} is held by {holder}. Accepted: a free port. End that program, or choose another.")
    none_free = Text(
        "No port from {given} to {last} is free; the first is held by {holder}. Accepted: a free port. Choose another."
    )
    program = Text("{name} (process {pid})")
    somebody = Text("a program whose name this account may not see")
    refused = Text("Port {given} may not be opened by this account. Accepted: 1024 to 65535. Choose one of these.")
    bad_host = Text(
        "'{given}' is no address of this machine ({reason}). Accepted: 127.0.0.1, 0.0.0.0, or one of its own "
        "addresses. Choose one of these."
    )
    needs_login = Text(
        "Host '{given}' lets other machines in, and no login was given. Accepted: loopback (127.0.0.1) without one, "
        "any other host with one. Add --auth USER:PASSWORD."
    )
    bad_login = Text("The login is not of the form that is accepted: {reason} Accepted: USER:PASSWORD. Enter both.")
    no_colon = Text("it has no colon.")
    no_user = Text("there is nothing before the colon.")
    no_password = Text("there is nothing after the colon.")


def free_port(host: str, wanted: int) -> tuple[int, Message | None]:
    """The wanted port when it is free, else the next free one and a word about who holds it; 0 means any."""
    if wanted == 0:
        return _open_any(host), None
    if is_free(host, wanted):
        return wanted, None
    last = min(wanted + TRIES, LAST_PORT)
    for port in range(wanted + 1, last + 1):
        if is_free(host, port):
            return port, Say.taken(given=wanted, holder=holder(wanted), chosen=port)
    raise UserError(Say.none_free(given=wanted, last=last, holder=holder(wanted)), key="port")


def check_free(host: str, port: int, host_key: str, port_key: str) -> None:
    """UserError beside the keys when this very port can't be had; 0 always can."""
    try:
        if port and not is_free(host, port):
            raise UserError(Say.taken_always(given=port, holder=holder(port)), key=port_key)
    except UserError as error:
        keys = {"host": host_key, "port": port_key}
        raise UserError(*(Problem(p.message, keys.get(p.key or "", p.key)) for p in error.problems)) from None


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. UserError for a host or a port that this account can't have."""
    try:
        with _listening(host, port):
            return not _answers(host, port)
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                return False
            case errno.EACCES if sys.platform == "win32":
                return False
            case errno.EACCES:
                raise UserError(Say.refused(given=port), key="port") from None
        raise UserError(Say.bad_host(given=host, reason=error.strerror or str(error)), key="host") from None


def holder(port: int) -> Message:
    """Which program listens on the port, as far as this account may see."""
    for pid in _listeners(port):
        try:
            return Say.program(name=psutil.Process(pid).name(), pid=pid)
        except psutil.Error:
            return Say.program(name="?", pid=pid)
    return Say.somebody()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_login(given: str) -> tuple[str, str]:
    """USER:PASSWORD as two words; UserError beside ``auth`` that does not repeat the password."""
    user, colon, password = given.partition(":")
    reason = None if colon else Say.no_colon()
    reason = reason or (None if user.strip() else Say.no_user())
    reason = reason or (None if password else Say.no_password())
    if reason:
        raise UserError(Say.bad_login(reason=reason), key="auth")
    return user.strip(), password


def check_login(host: str, login: tuple[str, str] | None) -> None:
    """UserError beside ``host`` when other machines could come in without a login."""
    if login is None and not is_loopback(host):
        raise UserError(Say.needs_login(given=host), key="host")


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound as servers bind theirs: a port that only waits for old connections to fade counts as free."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        return opened
    except OSError:
        opened.close()
        raise


def _answers(host: str, port: int) -> bool:
    """Whether somebody listens there in spite of it: macOS lets one bind beside a server on all addresses."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - asked, not bound
    try:
        with socket.create_connection((reached, port), CONNECT_PATIENCE_S):
            return True
    except OSError:
        return False


def _open_any(host: str) -> int:
    try:
        with _listening(host, 0) as opened:
            return int(opened.getsockname()[1])
    except OSError as error:
        raise UserError(Say.bad_host(given=host, reason=error.strerror or str(error)), key="host") from None


def _listeners(port: int) -> Iterator[int]:
    """Processes that listen on the port. macOS shows an account only its own, one process at a time."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        yield from _own_listeners(port)
        return
    for one in found:
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
            yield int(one.pid)


def _own_listeners(port: int) -> Iterator[int]:
    for process in psutil.process_iter():
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections):
            yield int(process.pid)
