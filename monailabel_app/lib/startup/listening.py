"""The sockets that the server listens on, opened before anything is loaded, so that a port in use fails fast."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Sequence

from fetaliqa.errors import OptionError

BACKLOG = 2048  # uvicorn's own
HOST_VARIABLE = "FETALIQA_HOST"  # the host that `serve` listens on, for the app
Address = tuple[socket.AddressFamily, tuple]


def port_number(text: str) -> int:
    """The port; 0 for any free one.

    Raises:
        OptionError: for anything but a whole number from 0 to 65535.
    """
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise OptionError(f"--port {text}: must be a whole number from 0 (any free port) to 65535")
    return int(text)


def plain_host(host: str) -> str:
    """The host without the brackets that an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def reachable_host(host: str) -> str:
    """A name under which this machine itself reaches the server: a wildcard is no address to go to."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def addresses_of(host: str, port: int) -> list[Address]:
    """The addresses of a host to listen on.

    Raises:
        OptionError: for a host without one.
    """
    if not host:
        raise OptionError("--host is empty: use 127.0.0.1, or a name or address of this machine")
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) and problem.strerror else "it is not a host name"
        raise OptionError(
            f"--host {host}: it has no address ({why}); use 127.0.0.1, or a name or address of this machine"
        ) from problem
    return list(dict.fromkeys((entry[0], entry[4]) for entry in entries))


def listen(host: str, port: int, addresses: Sequence[Address]) -> list[socket.socket]:
    """Listening sockets; connections that arrive before the server is ready wait.

    Args:
        host: of ``--host``.
        port: of ``--port``; 0 takes a free one.
        addresses: of both, see ``addresses_of``.

    Raises:
        OptionError: for a host that is not of this machine, or a port that cannot be used.
    """
    opened: list[socket.socket] = []
    unreachable: OSError | None = None
    with contextlib.ExitStack() as on_error:
        for family, address in addresses:
            if port == 0 and opened:  # all addresses of a name at one port
                address = (address[0], opened[0].getsockname()[1], *address[2:])
            try:
                sock = _listening(family, address)
            except OSError as problem:
                if problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    unreachable = problem  # such as ::1 of localhost, where there is no IPv6
                    continue
                raise OptionError(_sentence(host, port, problem)) from problem
            on_error.callback(sock.close)
            opened.append(sock)
        if not opened:
            assert unreachable is not None
            raise OptionError(_sentence(host, port, unreachable)) from unreachable
        on_error.pop_all()
    return opened


def _listening(family: socket.AddressFamily, address: tuple) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] != "::":  # `::` is every address, of both kinds
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _sentence(host: str, port: int, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"--port {port}: another program listens on it at {host}; stop that, or choose another port (0: any)"
        )
    if problem.errno == errno.EACCES:
        return f"--port {port}: this user may not listen on it; choose one from 1024 on"
    if problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"--host {host}: this machine has no such address; use 127.0.0.1, or an address of this machine"
    return f"--host {host} --port {port}: cannot be listened on: {problem.strerror or problem}"


def host_of_command(arguments: Sequence[str]) -> str | None:
    """``--host`` of MONAI Label's ``start_server`` (its default: every address); None for other commands."""
    if "start_server" not in arguments:
        return None
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-i", "--host", default="0.0.0.0")
    return str(parser.parse_known_args(arguments[arguments.index("start_server") :])[0].host)


def bound_host() -> str | None:
    """The host that this server listens on, by `serve` or by MONAI Label's own command; None elsewhere."""
    return os.environ.get(HOST_VARIABLE) or host_of_command(sys.argv)
