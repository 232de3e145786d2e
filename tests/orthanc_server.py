"""A real PACS for tests: Orthanc on loopback, and the few DICOMweb requests that the tests make."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path

PLUGINS = Path("/usr/share/orthanc/plugins")
BOUNDARY = "medseg-part"
START_SECONDS = 30


@dataclass(frozen=True)
class Orthanc:
    http_port: int
    dicom_port: int

    def get(self, path: str, accept: str) -> tuple[str, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers["Content-Type"], answer.read()

    def query(self, path: str) -> list[dict]:
        """QIDO-RS."""
        return json.loads(self.get(f"/dicom-web/{path}", "application/dicom+json")[1] or b"[]")

    def retrieve(self, path: str) -> list[bytes]:
        """WADO-RS: the instances of a study or series."""
        kind, body = self.get(f"/dicom-web/{path}", 'multipart/related; type="application/dicom"')
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        return [part.get_payload(decode=True) for part in message.get_payload()]

    def store(self, files: Sequence[Path]) -> None:
        """STOW-RS; raises where an instance was not taken."""
        parts = [
            f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file.read_bytes() + b"\r\n"
            for file in files
        ]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/dicom-web/studies",
            data=b"".join(parts) + f"--{BOUNDARY}--".encode(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                "Accept": "application/dicom+json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            stored = json.loads(answer.read())
        assert len(stored["00081199"]["Value"]) == len(files)  # ReferencedSOPSequence
        assert not stored.get("00081198", {}).get("Value")  # FailedSOPSequence


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    program = shutil.which("Orthanc")
    assert program is not None
    server = Orthanc(free_port(), free_port())
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "HttpPort": server.http_port, "DicomPort": server.dicom_port, "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True, "Plugins": [str(PLUGINS)], "DicomWeb": {"Enable": True},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait(server: Orthanc, process: subprocess.Popen) -> None:
    for _ in range(START_SECONDS * 10):
        assert process.poll() is None, "Orthanc ended"
        try:
            server.get("/system", "application/json")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("Orthanc did not answer")
