"""Host names: which ones this server answers to, and which are loopback.

A page of another site can give its own name the address of this machine (DNS rebinding). Its requests then come
with that name in the header ``Host``, and with an ``Origin`` that agrees with it. So ``Host`` is checked against a
list.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any

from fetaliqa.errors import OptionError

LOCAL = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS = ("0.0.0.0", "::", "")
# an IPv6 address in brackets, or a name or IPv4 address; a final dot; a port
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?(?::([0-9]{0,5}))?")
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """Name and port of a ``Host`` header, or of the same part of an ``Origin``.

    Returns:
        The name in lower case without a final dot (IPv6 addresses in their short form within brackets), and the
        port when there is one. None for text that is not a host.
    """
    match = _HOST.fullmatch(text.strip().lower())
    if match is None:
        return None
    name, port = match.groups()
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None
    return name, int(port) if port else None


def as_host(address: str) -> str:
    """An address or name as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def checked_hosts(value: Any) -> tuple[str, ...]:
    """The names of ``--conf hosts``.

    Raises:
        OptionError: for a part that is not a host name.
    """
    names = []
    for part in str(value or "").split(","):
        if not part.strip():
            continue
        host = host_and_port(as_host(part.strip()) if part.count(":") > 1 else part)
        if host is None or host[1] is not None:
            raise OptionError(
                f"--conf hosts {value}: {part.strip()!r} is not a host name or address; give names without scheme "
                "and port, such as labels.example.org,192.168.1.20"
            )
        names.append(host[0])
    return tuple(names)


def allowed_hosts(bound: str | None, named: Iterable[str]) -> frozenset[str]:
    """Host names that requests may be sent to.

    Args:
        bound: ``--host`` of the server, None where it is not known.
        named: of ``--conf hosts``.
    """
    names = {*LOCAL, *named}
    if bound:
        names.add(as_host(bound))
        if not is_loopback(bound):  # people use the machine's name, which no other site can have
            names.update({socket.gethostname(), socket.getfqdn()})
    hosts = map(host_and_port, names)
    return frozenset(host[0] for host in hosts if host is not None)


def is_loopback(host: str) -> bool:
    """True when a name or address is a loopback address."""
    if host in WILDCARDS:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        pass
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in entries)


def switch(key: str, value: Any) -> bool:
    """A setting that is true or false.

    Raises:
        OptionError: for anything else.
    """
    chosen = _SWITCH.get(str(value).strip().lower())
    if chosen is None:
        raise OptionError(f"--conf {key} {value}: must be true or false")
    return chosen


def check_open(host: str, opened: Any) -> None:
    """Refuse to serve other machines without any login, unless that was asked for.

    Args:
        host: that the server listens on.
        opened: value of ``--conf open``.

    Raises:
        OptionError: for a host that other machines can reach.
    """
    if is_loopback(host) or switch("open", opened or "false"):
        return
    from monailabel.config import settings  # imported late: it takes a part of a second

    if not settings.MONAI_LABEL_AUTH_ENABLE:
        raise OptionError(
            f"--host {host}: other machines could reach this server, which has no login, so anybody could read "
            "and change all studies and labels; leave --conf login at auto, use 127.0.0.1 behind a proxy with "
            "logins, or say --conf open true"
        )
