"""What all parts of the workplace share: the connection, the status line, and how a request is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.client import Client
from FetalIQALib.failures import Failure, NeedsLogin, NotPossible, Unreachable
from FetalIQALib.http import Cancel, Http
from FetalIQALib.replies import ServerInfo, checked_identifier
from FetalIQALib.tasks import TaskRunner
from FetalIQALib.texts import _

INFO, BUSY, PROBLEM = "info", "busy", "problem"
DEFAULT_TAG = "final"


@dataclass(frozen=True)
class Change:
    """A kind of request that changes something on the server.

    Attributes:
        name: what it is called; empty when giving it up need not be told.
        ask: learns what the server has now.
        asks: kind of the request by which it does.
    """

    name: str
    ask: Callable[[], object]
    asks: str = ""


@dataclass(frozen=True)
class Status:
    """The status line: what it says, and whether that is news, work under way, or a problem."""

    text: str
    kind: str = INFO


class Hub:
    """Connection, status line and listeners of one workplace.

    Attributes:
        client: the server; None before the first connection succeeded.
        info: what it said of itself.
        online: whether the last request reached it.
        wants_token: whether it asked for a login.
        rater: who works.
        tag: the label that is worked on.
        status: the status line.
        changes: requests that change something on the server, by kind; whoever makes them adds them.
    """

    def __init__(self, runner: TaskRunner) -> None:
        self.runner = runner
        runner.late = self._answered_late
        self.changes: dict[str, Change] = {}
        self.client: Client | None = None
        self.info: ServerInfo | None = None
        self.online = False
        self.wants_token = False
        self.rater = ""
        self.tag = DEFAULT_TAG
        self.status = Status(_("Not connected."))
        self.patience = 1.0
        self._listeners: list[Callable[[str], None]] = []

    # -- telling ------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call ``listener(topic)`` after every change.

        Topics: status, connection, worklist, case, frames, position, kept, conflict, learn, review.
        """
        self._listeners.append(listener)

    def tell(self, topic: str) -> None:
        """Tell everybody that something changed."""
        for listener in list(self._listeners):
            listener(topic)

    def say(self, text: str, kind: str = INFO) -> None:
        """Put a sentence on the status line."""
        self.status = Status(text, kind)
        self.tell("status")

    def fail(self, failure: Failure) -> None:
        """Put a failure on the status line; what was there before stands."""
        if isinstance(failure, NeedsLogin):
            self.wants_token = True
        if isinstance(failure, Unreachable):
            self.online = False
        self.say(str(failure), PROBLEM)
        self.tell("connection")

    # -- asking -------------------------------------------------------------------------------------

    def connect(self, address: str, token: str, rater: str, tag: str, connected: Callable[[], None]) -> bool:
        """Ask a server what it is; ``connected`` is called when it answered. False when that is under way."""
        try:
            http = Http(address, token, self.patience)
            checked_identifier(_("Label"), tag)
        except Failure as failure:
            self.fail(failure)
            return False
        client = Client(http)

        def done(info: ServerInfo) -> None:
            self.client, self.info, self.rater, self.tag = client, info, rater.strip(), tag
            self.online, self.wants_token = True, False
            models = ", ".join(f"{name} ({bundle})" for name, bundle in info.models.items()) or _("no model")
            said = _("Connected to {name} {version}: {models}").format(
                name=info.name, version=info.version, models=models
            )
            if info.not_offered:
                told = _("{count} file(s) of its studies are not offered, see Connection")
                said = f"{said}; {told.format(count=len(info.not_offered))}"
            self.say(said)
            self.tell("connection")
            connected()

        return self._start(
            "connect", client.info, done, self.fail, _("Connecting to {address} …").format(address=address)
        )

    def ask(
        self,
        kind: str,
        work: Callable[[Client, Cancel], Any],
        done: Callable[[Any], None],
        busy: str,
        failed: Callable[[Failure], None] | None = None,
    ) -> bool:
        """Make a request in a thread. False, with a sentence, when there is no server or one of its kind runs."""
        client = self.client
        if client is None:
            self.fail(NotPossible(_("Connect to a server first.")))
            return False

        def answered(result: Any) -> None:
            if not self.online:
                self.online = True
                self.tell("connection")
            done(result)

        return self._start(kind, lambda cancel: work(client, cancel), answered, failed or self.fail, busy)

    def _start(
        self,
        kind: str,
        work: Callable[[Cancel], Any],
        done: Callable[[Any], None],
        failed: Callable[[Failure], None],
        busy: str,
    ) -> bool:
        if not self.runner.start(kind, work, done, failed):
            if busy:
                self.say(_("That is under way already; it can be canceled."), BUSY)
            return False
        if busy:
            self.say(busy, BUSY)
        return True

    def cancel(self) -> None:
        """Give up every request that is under way. What was sent to the server may be done all the same."""
        if not self.runner.busy():
            return
        sent = [self.changes[kind] for kind in self.changes if self.runner.busy(kind)]
        names = [change.name for change in sent if change.name]
        self.runner.cancel_all()
        if names:
            told = _("No longer waiting for {what}: the server may have done it all the same, and is asked.")
            self.say(told.format(what=", ".join(names)), PROBLEM)
        else:
            self.say(_("Given up; nothing was changed."))
        self.tell("connection")
        for change in sent:
            change.ask()

    def _answered_late(self, kind: str) -> None:
        """A request that was given up has ended: only now it is certain what the server made of it."""
        change = self.changes.get(kind)
        if change is not None and self.client is not None:
            self.runner.cancel(change.asks)  # it may have asked too early
            change.ask()
