"""A real Orthanc on a port and a folder of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import requests
from app_harness import free_port
from dicomweb_client import DICOMwebClient

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # of Debian's orthanc-dicomweb
START_SECONDS = 30
LOGIN = ("labeller", "s3cret-of-the-test")


@dataclasses.dataclass
class Orthanc:
    """An Orthanc that can be stopped and started again on the same storage."""

    root: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def client(self) -> DICOMwebClient:
        session = requests.Session()
        session.auth = LOGIN
        return DICOMwebClient(self.address, session=session)

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = shutil.which("Orthanc")
        if program is None or not PLUGIN.exists():
            pytest.fail("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb, or `make test-dicom`")
        self.root.mkdir(exist_ok=True)
        settings = self.root / "orthanc.json"
        settings.write_text(
            json.dumps(
                {
                    "Name": "FetalIQA test",
                    "HttpPort": self.port,
                    "StorageDirectory": str(self.root / "storage"),
                    "IndexDirectory": str(self.root / "storage"),
                    "DicomServerEnabled": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": dict([LOGIN]),
                    "Plugins": [str(PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                }
            )
        )
        with open(self.root / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen([program, str(settings)], stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/system", auth=LOGIN, timeout=5).ok:
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        pytest.fail("Orthanc did not start:\n" + (self.root / "orthanc.log").read_text()[-2000:])

    def stop(self) -> None:
        """Stop; what it stores stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def new_orthanc(root: Path) -> Orthanc:
    """One that is not started yet."""
    return Orthanc(root, free_port())
