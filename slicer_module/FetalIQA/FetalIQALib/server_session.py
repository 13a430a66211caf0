"""Server session shared by all parts of the workspace: connection, status line, requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.client_errors import AuthenticationRequired, FetalIQAError, InvalidAction, ServerUnreachable
from FetalIQALib.http_client import Cancel, HttpClient
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_responses import ServerInfo, checked_identifier
from FetalIQALib.task_runner import TaskRunner
from FetalIQALib.translation import _, translated

INFO, BUSY, PROBLEM = "info", "busy", "problem"
DEFAULT_TAG = "final"


@dataclass(frozen=True)
class ServerChange:
    """A kind of request that changes data on the server.

    Attributes:
        name: for messages; empty if its cancellation is not reported.
        refresh: reads the current state from the server.
        refresh_kind: kind of the request that ``refresh`` makes.
    """

    name: str
    refresh: Callable[[], object]
    refresh_kind: str = ""


@dataclass(frozen=True)
class StatusMessage:
    """The status line.

    Attributes:
        text: what is shown.
        kind: ``info``, ``busy`` or ``problem``.
        error: the error that the message reports; None for other messages.
        frame: that the message is about; None for other messages.
    """

    text: str
    kind: str = INFO
    error: FetalIQAError | None = None
    frame: int | None = None


class ServerSession:
    """Connection, status line and listeners of one workspace.

    Attributes:
        client: of the server; None before the first connection.
        info: the server's description.
        online: whether the last request reached the server.
        token_required: whether the server asked for a token.
        rater: name of the rater.
        tag: of the label that is edited.
        status: the status line.
        changes: requests that change data on the server, by kind; added by the objects that make them.
    """

    def __init__(self, runner: TaskRunner) -> None:
        self.runner = runner
        runner.on_late_result = self._finished_late
        self.changes: dict[str, ServerChange] = {}
        self.client: ServerClient | None = None
        self.info: ServerInfo | None = None
        self.online = False
        self.token_required = False
        self.rater = ""
        self.tag = DEFAULT_TAG
        self.status = StatusMessage(_("Not connected."))
        self.timeout_factor = 1.0
        self._listeners: list[Callable[[str], None]] = []

    # -- notifications ------------------------------------------------------------------------------

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call ``listener(topic)`` after every change.

        Topics: status, connection, worklist, case, frames, position, saved_work, conflict, training, review.
        """
        self._listeners.append(listener)

    def notify(self, topic: str) -> None:
        """Call all listeners with a topic."""
        for listener in list(self._listeners):
            listener(topic)

    def show_status(
        self, text: str, kind: str = INFO, error: FetalIQAError | None = None, frame: int | None = None
    ) -> None:
        """Show a message on the status line; one about a frame is removed when another frame is shown."""
        self.status = StatusMessage(translated(text), kind, error, frame)
        self.notify("status")

    def frame_shown(self, frame: int) -> None:
        """Remove the message about another frame."""
        if self.status.frame not in (None, frame):
            self.show_status("")

    def show_error(self, error: FetalIQAError, frame: int | None = None) -> None:
        """Show an error on the status line."""
        if isinstance(error, AuthenticationRequired):
            self.token_required = True
        if isinstance(error, ServerUnreachable):
            self.online = False
        self.show_status(str(error), PROBLEM, error, frame)
        self.notify("connection")

    # -- requests -----------------------------------------------------------------------------------

    def connect(self, address: str, token: str, rater: str, tag: str, connected: Callable[[], None]) -> bool:
        """Connect to a server; ``connected`` is called on success. False if a connection attempt is running."""
        try:
            http = HttpClient(address, token, self.timeout_factor)
            checked_identifier(_("Label"), tag)
        except FetalIQAError as error:
            self.show_error(error)
            return False
        client = ServerClient(http)

        def done(info: ServerInfo) -> None:
            self.client, self.info, self.rater, self.tag = client, info, rater.strip(), tag
            self.online, self.token_required = True, False
            models = ", ".join(f"{name} ({bundle})" for name, bundle in info.models.items()) or _("no model")
            message = _("Connected to {name} {version}: {models}").format(
                name=info.name, version=info.version, models=models
            )
            if info.not_offered:
                note = _("{count} file(s) skipped (see Server)")
                message = f"{message}; {note.format(count=len(info.not_offered))}"
            self.show_status(message)
            self.notify("connection")
            connected()

        return self._start(
            "connect", client.info, done, self.show_error, _("Connecting to {address} …").format(address=address)
        )

    def request(
        self,
        kind: str,
        function: Callable[[ServerClient, Cancel], Any],
        done: Callable[[Any], None],
        busy: str,
        failed: Callable[[FetalIQAError], None] | None = None,
    ) -> bool:
        """Make a request in a thread. False, with a message, without a server or if one of its kind is running."""
        client = self.client
        if client is None:
            self.show_error(InvalidAction(_("Connect to a server first.")))
            return False

        def answered(result: Any) -> None:
            if not self.online:
                self.online = True
                self.notify("connection")
            done(result)

        return self._start(
            kind, lambda cancel: function(client, cancel), answered, failed or self.show_error, busy
        )

    def _start(
        self,
        kind: str,
        function: Callable[[Cancel], Any],
        done: Callable[[Any], None],
        failed: Callable[[FetalIQAError], None],
        busy: str,
    ) -> bool:
        if not self.runner.start(kind, function, done, failed):
            if busy:
                self.show_status(_("This is already running; cancel it first."), BUSY)
            return False
        if busy:
            self.show_status(busy, BUSY)
        return True

    def cancel(self) -> None:
        """Cancel all running requests. The server may complete what was already sent."""
        if not self.runner.busy():
            return
        pending = [self.changes[kind] for kind in self.changes if self.runner.busy(kind)]
        names = [change.name for change in pending if change.name]
        self.runner.cancel_all()
        if names:
            message = _("Canceled: {what}. The server may have completed it; checking …")
            self.show_status(message.format(what=", ".join(names)), PROBLEM)
        else:
            self.show_status(_("Canceled; nothing was changed."))
        self.notify("connection")
        for change in pending:
            change.refresh()

    def _finished_late(self, kind: str) -> None:
        """Read the server's state again after a canceled request has ended."""
        change = self.changes.get(kind)
        if change is not None and self.client is not None:
            self.runner.cancel(change.refresh_kind)  # it may have been too early
            change.refresh()
