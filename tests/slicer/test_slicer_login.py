"""The Slicer module with a server that requires a login; a token that is revoked in the middle of a case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server, free_port, start, stop, write_case
from FetalIQALib.client_errors import AuthenticationRequired
from FetalIQALib.workspace import Workspace
from workspaces import opened, settle

from monailabel_app.lib.access.user_accounts import Accounts

SQUARE = np.pad(np.ones((9, 9), np.uint8), ((10, 29), (20, 35)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("slicer-login")
    write_case(root / "studies" / "case_a.mha", 4)
    Accounts(root / "studies").add("anna", "annotator", "correct horse battery")
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    running = start(root, [*command, "--conf", "login", "true", "--conf", "cache_dir", str(root / "cache")], port)
    yield running
    stop(running)


def test_a_token_opens_the_server_and_labels_carry_its_name(server: Server, tmp_path: Path) -> None:
    accounts = Accounts(server.studies)
    token, entry = accounts.add_token("anna", "slicer", 1)
    workspace = Workspace(tmp_path / "kept")
    workspace.connect(server.url, rater="somebody")
    settle(workspace)
    assert (workspace.session.online, workspace.session.token_required) == (False, True)
    assert isinstance(workspace.session.status.error, AuthenticationRequired)

    workspace.connect(server.url, token, rater="somebody")
    settle(workspace)
    assert (workspace.session.online, workspace.session.token_required) == (True, False), workspace.session.status
    workspace.controller.assess = lambda: True  # type: ignore[method-assign]
    annotation = opened(workspace, "case_a")
    workspace.controller.draw_mask(1, SQUARE, "draw")
    accounts.revoke_token("anna", entry.id)
    workspace.controller.submit()
    settle(workspace)
    assert isinstance(workspace.session.status.error, AuthenticationRequired)
    assert workspace.session.token_required
    assert annotation.based_on == 0

    again = accounts.add_token("anna", "slicer", 1)[0]
    workspace.connect(server.url, again, rater="somebody")
    settle(workspace)
    annotation = workspace.controller.annotation or opened(workspace, "case_a")
    assert annotation.frames[1].labelled  # nothing was lost
    workspace.controller.submit()
    settle(workspace)
    assert annotation.based_on == 1, workspace.session.status
    target = "/datastore/label/info?label=case_a&tag=final"
    info = json.loads(server.raw("GET", target, None, {"Authorization": f"Bearer {again}"}).body)
    assert (info["user"], info["rater"]) == ("anna", "anna")
    assert info["frame_record"]["frames"]["1"]["rater"] == "anna"
