"""Lock-out after failed sign-ins: a growing delay per user and address, and per address; in bounded memory."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 5  # failures of a user from an address, before the first delay
FREE_OF_ADDRESS = 30  # failures of an address, whoever the users; several people may share it
FIRST_DELAY, LONGEST_DELAY, LONGEST_OF_ADDRESS = 5.0, 900.0, 60.0  # s; it doubles with each failure
FORGET_SECONDS = 3600.0  # after the last failure
MAX_ENTRIES = 4096  # of each of the two tables; the oldest entry is dropped
IPV6_BITS = 64  # a network of this size is usually one customer's


@dataclass
class _Count:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


class _Counts:
    """Failures by key, the longest unused first."""

    def __init__(self, free: int, longest: float) -> None:
        self._free, self._longest = free, longest
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        count = self._counts.get(key)
        return 0.0 if count is None else max(0.0, count.until - now)

    def add(self, key: str, now: float) -> bool:
        """Count a failure; True when it begins a delay."""
        count = self._counts.pop(key, _Count())
        if now > max(count.last, count.until) + FORGET_SECONDS:
            count = _Count()
        count.failures, count.last = count.failures + 1, now
        beyond = count.failures - self._free
        if beyond >= 0:
            count.until = now + min(self._longest, FIRST_DELAY * 2.0 ** min(beyond, 30))
        self._counts[key] = count
        while len(self._counts) > MAX_ENTRIES:
            self._counts.popitem(last=False)
        return beyond >= 0

    def subtract(self, key: str) -> None:
        count = self._counts.get(key)
        if count is not None:
            count.failures, count.until = max(0, count.failures - 1), 0.0

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)


class FailedSignIns:
    """Counts failed sign-ins; known and unknown users alike.

    Args:
        clock: monotonic time, s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._users = _Counts(FREE, LONGEST_DELAY)
        self._addresses = _Counts(FREE_OF_ADDRESS, LONGEST_OF_ADDRESS)

    def begin(self, user: str, address: str) -> tuple[float, bool]:
        """Begin an attempt, which counts as failed until ``succeeded``: many at once gain nothing.

        Returns:
            Seconds to wait, 0 when the attempt may be made; and whether its failure begins a delay.
        """
        network = network_of(address)
        key, now = _key(user, network), self._clock()
        with self._guard:
            wait = max(self._users.wait(key, now), self._addresses.wait(network, now))
            if wait:
                return wait, False
            delays = (self._users.add(key, now), self._addresses.add(network, now))
        return 0.0, any(delays)

    def succeeded(self, user: str, address: str) -> None:
        """The attempt that ``begin`` allowed was right."""
        network = network_of(address)
        with self._guard:
            self._users.clear(_key(user, network))
            self._addresses.subtract(network)

    def __len__(self) -> int:
        return max(len(self._users), len(self._addresses))


def _key(user: str, network: str) -> str:
    return f"{network} {user.casefold()[:64]}"


def network_of(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_BITS), strict=False))
