"""A fake Hub on this machine: the library sends real requests to it, none to the Internet."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wavenet.cli.main import run

COMMIT = "c" * 40
CARD = "---\nlicense: cc-by-4.0\ntags: [audio]\n---\n# tiny\n\nA model.\n"


class FakeHub(ThreadingHTTPServer):
    """A server with repositories by name, each with its files, and with errors as of the Hub.

    Attributes:
        files: content by repository and file name.
        announced: false sizes by file name.
        error: status and error code of every answer; None for correct answers.
        requests: method and path of each request.
        tokens: Authorization headers received.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubRequestHandler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.announced: dict[str, int] = {}
        self.error: tuple[int, str] | None = None
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class HubRequestHandler(BaseHTTPRequestHandler):
    """The routes that downloading and publishing need."""

    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error_if_set(self) -> bool:
        """Record the request; send the error of the server and return True if it has one."""
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.error:
            status, code = self.server.error
            self.reply(status, b"{}", X_Error_Code=code)
        return bool(self.server.error)

    def do_GET(self) -> None:
        if self.send_error_if_set():
            return
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self.describe("/".join(parts[2:4]), parts[5] if len(parts) > 4 else "main")
        else:
            self.fetch("/".join(parts[:2]), parts[-1])

    do_HEAD = do_GET

    def describe(self, repository: str, revision: str) -> None:
        if repository not in self.server.files:
            self.reply(404, b"{}", X_Error_Code="RepoNotFound")
        elif revision not in ("main", COMMIT):
            self.reply(404, b"{}", X_Error_Code="RevisionNotFound")
        else:
            sizes = {n: len(d) for n, d in self.server.files[repository].items()}
            sizes |= self.server.announced
            siblings = [{"rfilename": n, "size": size} for n, size in sizes.items()]
            about = {"id": repository, "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(about).encode(), Content_Type="application/json")

    def fetch(self, repository: str, name: str) -> None:
        data = self.server.files[repository][name]
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        self.reply(200, data, ETag=etag, X_Repo_Commit=COMMIT)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.send_error_if_set():
            return
        answer: dict[str, object] = {}
        if self.path.endswith("/repos/create"):
            request = json.loads(body)
            owner = request.get("organization")
            name = f"{owner}/{request['name']}" if owner else "me/x"
            self.server.files.setdefault(name, {})
            answer = {"url": f"{self.server.url}/{name}", "private": request.get("private")}
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files
                ]
            }
        elif "/commit/" in self.path:
            repository = "/".join(self.path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[repository][line["value"]["path"]] = content
            address = f"{self.server.url}/{repository}/commit/{COMMIT}"
            answer = {"commitUrl": address, "commitOid": COMMIT}
        self.reply(200, json.dumps(answer).encode(), Content_Type="application/json")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[FakeHub]:
    """Start a fake Hub and direct the library to it; no user is logged in."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # `hub` does this only if the library is not yet imported
    for name in ("TELEMETRY", "PROGRESS_BARS"):
        monkeypatch.setenv(f"HF_HUB_DISABLE_{name}", "1")
    monkeypatch.setenv("HF_HUB_VERBOSITY", "error")
    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    pages = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", pages)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(make_checkpoint):
    """Return the folder of a checkpoint with a card and with an unrelated file."""
    made = make_checkpoint().folder
    (made / "README.md").write_text(CARD, encoding="utf-8")
    (made / "optimizer.bin").write_bytes(b"must not be published")
    return made


@pytest.fixture
def run_command(capsys):
    """Return a function that runs a command and returns exit code, stdout and stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call
