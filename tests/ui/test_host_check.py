"""Requests of other sites are refused before an event or an upload runs; programs are not."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from wavenet.errors import ConfigError
from wavenet.ui.server.host_check import (
    FRAME_POLICY,
    HostCheck,
    allowed_hosts,
    is_loopback,
    is_only_local,
)

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="attack.wav"\r\n\r\nRIFF\r\n'
    b"--x--\r\n"
)
CALL = json.dumps({"data": ["digits", {}, 0.05, 1, None, None, None]}).encode()
EVENT = json.dumps({"data": [], "fn_index": 0, "session_hash": "attack"}).encode()
JSON, TEXT, MULTIPART = "application/json", "text/plain", "multipart/form-data; boundary=x"
# Method, path, type and content of the body, and the answer to the studio's own page.
REQUESTS = [
    ("GET", "/", "", b"", 200),
    ("HEAD", "/", "", b"", 200),
    ("GET", "/config", "", b"", 200),
    ("GET", "/gradio_api/info", "", b"", 200),
    ("GET", "/gradio_api/heartbeat/attack", "", b"", 200),
    ("GET", "/gradio_api/queue/data?session_hash=attack", "", b"", 200),
    ("GET", "/gradio_api/startup-events", "", b"", 200),
    ("GET", "/gradio_api/file=/etc/passwd", "", b"", 403),
    ("POST", "/gradio_api/upload", MULTIPART, FORM, 200),
    ("POST", "/gradio_api/queue/join", JSON, EVENT, 200),
    ("POST", "/gradio_api/queue/join", TEXT, EVENT, 422),
    ("POST", "/gradio_api/call/generate", JSON, CALL, 200),
    ("POST", "/gradio_api/run/generate", JSON, CALL, 404),
    ("POST", "/gradio_api/cancel", JSON, b"{}", 422),
    ("PUT", "/gradio_api/upload", "", b"", 405),
    ("DELETE", "/config", "", b"", 405),
    ("OPTIONS", "/config", "", b"", 405),
]
OWN = "127.0.0.1:PORT"
# Values of Host, or of Origin beside an own Host; PORT is the port of the server.
OWN_HOSTS = ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT"]
FOREIGN_HOSTS = [
    *("evil.example", "evil.example:PORT", "127.0.0.1", "localhost", "127.0.0.1:1", "[::1]"),
    *("0.0.0.0:PORT", "localhost.:PORT", "127.0.0.1.:PORT", "127.1:PORT", "2130706433:PORT"),
    *("127.0.0.1:PORT@evil.example", "evil.example@127.0.0.1:PORT", "127.0.0.1:PORT.evil.example"),
    *("localhost.evil.example:PORT", "evil.example#127.0.0.1:PORT", "127.0.0.1:0PORT", "", "null"),
    *("[::ffff:127.0.0.1]:PORT", "192.168.1.5:PORT", "evil.hf.space", "127.0.0.1:PORT evil"),
]
OWN_ORIGINS = ["http://127.0.0.1:PORT", "http://localhost:PORT", "HTTP://LOCALHOST:PORT"]
FOREIGN_ORIGINS = [
    *("null", "", "http://evil.example", "https://127.0.0.1:PORT", "http://127.0.0.1"),
    *("http://127.0.0.1:1", "http://127.0.0.1:PORT@evil.example", "//127.0.0.1:PORT", OWN),
    *("http://127.0.0.1:PORT.evil.example", "http://localhost.:PORT", "file://127.0.0.1:PORT"),
    *("http://127.0.0.1:PORT http://evil.example", "http://127.0.0.1:PORT/", "http://0.0.0.0:PORT"),
]


def send(
    url: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
) -> tuple[int, dict[str, str]]:
    """Send a request as bytes; return its status and its headers, but do not wait for the body."""
    port = url.rpartition(":")[2]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join([*lines, "Connection: close", "", ""]).replace("PORT", port)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as connection:
        connection.sendall(text.encode("latin-1") + body)
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        fields = iter(lambda: answer.readline().decode("latin-1").strip(), "")
        pairs = (line.lower().partition(": ") for line in fields)
        return status, {name: value for name, _, value in pairs}


@pytest.mark.parametrize(("method", "path", "kind", "body", "expected"), REQUESTS)
def test_every_request_of_another_site_is_refused(
    url: str, method: str, path: str, kind: str, body: bytes, expected: int
) -> None:
    content = [("Content-Type", kind)] if kind else []
    own = [("Host", OWN), *content]
    assert send(url, method, path, own, body)[0] == expected
    assert send(url, method, path, [*own, ("Origin", f"http://{OWN}")], body)[0] == expected
    for headers in (
        [("Host", "evil.example:PORT"), *content],
        [("Host", "evil.example:PORT"), ("Origin", "http://evil.example:PORT"), *content],
        [*own, ("Origin", "http://evil.example")],
        [*own, ("Origin", "null")],
        [*own, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
    ):
        status, answer = send(url, method, path, headers, body)
        assert status == 403
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert not [name for name in answer if name.startswith("access-control")]


def test_hosts_and_origins(url: str) -> None:
    def status(*headers: tuple[str, str]) -> int:
        return send(url, "GET", "/config", list(headers))[0]

    assert {status(("Host", host)) for host in OWN_HOSTS} == {200}
    assert [host for host in FOREIGN_HOSTS if status(("Host", host)) not in (400, 403)] == []
    own = ("Host", OWN)
    assert {status(own, ("Origin", origin)) for origin in OWN_ORIGINS} == {200}
    assert [o for o in FOREIGN_ORIGINS if status(own, ("Origin", o)) != 403] == []
    assert status() == 400  # no Host
    assert status(own, own) in (400, 403)
    assert status(own, ("Host", "evil.example")) in (400, 403)
    assert status(own, ("Origin", f"http://{OWN}"), ("Origin", "http://evil.example")) == 403
    assert send(url, "GET", "http://127.0.0.1:PORT/config", [("Host", "evil.example")])[0] == 403


def test_only_a_link_may_lead_from_another_site_to_the_page(url: str) -> None:
    def status(method: str, site: str, mode: str) -> int:
        headers = [("Host", OWN), ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)]
        return send(url, method, "/", headers)[0]

    assert status("GET", "cross-site", "navigate") == 200
    assert status("GET", "same-origin", "cors") == 200
    assert status("GET", "none", "navigate") == 200
    assert status("GET", "cross-site", "no-cors") == 403
    assert status("GET", "same-site", "no-cors") == 403  # another port of this machine
    assert status("POST", "cross-site", "navigate") == 403


def test_other_sites_receive_no_permission_and_cannot_frame_the_page(url: str) -> None:
    preflight = [("Host", OWN), ("Access-Control-Request-Method", "POST")]
    foreign = ("Origin", "http://evil.example")
    status, answer = send(url, "OPTIONS", "/gradio_api/upload", [*preflight, foreign])
    assert status == 403
    assert not [name for name in answer if name.startswith("access-control")]
    own = ("Origin", f"http://{OWN}")
    assert send(url, "OPTIONS", "/gradio_api/upload", [*preflight, own])[0] == 200
    assert send(url, "GET", "/", [("Host", OWN)])[1]["content-security-policy"] == FRAME_POLICY


def test_refused_uploads_store_nothing(url: str) -> None:
    headers = {"Content-Type": MULTIPART, "Host": url.removeprefix("http://")}

    def upload(name: bytes, origin: str) -> httpx.Response:
        body = FORM.replace(b"attack", name)
        address = f"{url}/gradio_api/upload"
        return httpx.post(address, content=body, headers=headers | {"Origin": origin})

    (stored,) = upload(b"own", url).json()
    assert Path(stored).name == "own.wav"
    assert upload(b"other", "http://evil.example").status_code == 403
    names = {path.name for path in Path(stored).parents[1].rglob("*.wav")}
    assert "own.wav" in names
    assert "other.wav" not in names


def test_program_without_origin_is_accepted(url: str) -> None:
    seven = {"digit": "7", "speaker": "jackson"}
    client = Client(url, verbose=False)
    clip = client.predict(conditions=seven, seconds=0.05, seed=1, api_name="/generate")
    assert Path(clip).name == "digits_7_jackson_seed1.wav"


def check_client(base: str, address: str, *allowed: str) -> TestClient:
    """Return a client of the check alone, in front of an app that answers 200."""
    check = HostCheck(PlainTextResponse("ok"), address, allowed)
    return TestClient(check, base_url=base, raise_server_exceptions=True)


@pytest.mark.parametrize(
    ("address", "allowed", "base", "expected"),
    [
        ("127.0.0.1", (), "http://127.0.0.1", 200),  # port 80, which browsers leave out
        ("127.0.0.2", (), "http://127.0.0.2:7860", 200),
        ("::1", (), "http://[::1]:7860", 200),
        ("127.0.0.1", (), "http://studio.example.org:7860", 403),
        ("127.0.0.1", ("studio.example.org",), "http://studio.example.org:7860", 200),
        ("127.0.0.1", ("studio.example.org",), "http://STUDIO.example.org", 200),
        ("127.0.0.1", ("studio.example.org",), "http://evil.studio.example.org", 403),
        ("127.0.0.1", ("studio.example.org:8000",), "http://studio.example.org:8000", 200),
        ("127.0.0.1", ("studio.example.org:8000",), "http://studio.example.org:7860", 403),
        # Served to other machines: addresses cannot be forged by DNS rebinding, names can.
        ("0.0.0.0", (), "http://192.168.1.5:7860", 200),
        ("0.0.0.0", (), "http://[fe80::1]:8080", 200),
        ("0.0.0.0", (), "http://localhost:8080", 200),
        ("0.0.0.0", (), "http://evil.example:7860", 403),
        ("studio.lan", (), "http://studio.lan:7860", 200),
    ],
)
def test_hosts_of_other_addresses(
    address: str, allowed: tuple[str, ...], base: str, expected: int
) -> None:
    client = check_client(base, address, *allowed)
    assert client.get("/").status_code == expected
    assert client.post("/", headers={"Origin": base.lower()}).status_code == expected
    assert client.post("/", headers={"Origin": "http://evil.example"}).status_code == 403


def test_allowed_names_may_stand_in_front_of_the_studio() -> None:
    """A proxy with TLS may keep the Host of the browser, or replace it by its own."""
    name = "https://studio.example.org"
    for base in ("http://127.0.0.1:7860", "http://studio.example.org"):
        client = check_client(base, "127.0.0.1", "studio.example.org")
        assert client.post("/", headers={"Origin": name}).status_code == 200
    public = check_client("http://192.168.1.5", "0.0.0.0")
    assert public.post("/", headers={"Origin": "https://192.168.1.5"}).status_code == 200
    assert public.post("/", headers={"Origin": "https://192.168.1.6"}).status_code == 403


def test_a_space_has_the_name_of_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "me/studio")
    monkeypatch.setenv("SPACE_HOST", "me-studio.hf.space")
    space = "https://me-studio.hf.space"
    client = check_client(space, "0.0.0.0", *allowed_hosts())
    frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    shown = client.get("/", headers=frame)  # in a frame of huggingface.co
    assert shown.status_code == 200
    assert "content-security-policy" not in shown.headers
    assert client.post("/", headers={"Origin": space}).status_code == 200
    assert client.post("/", headers={"Origin": "https://evil.hf.space"}).status_code == 403
    assert check_client("http://evil.example", "0.0.0.0").get("/").status_code == 403


def test_websockets_of_other_sites_are_refused() -> None:
    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    client = TestClient(HostCheck(accept, "127.0.0.1"))
    page = "ws://127.0.0.1:7860/"
    for origin in ({}, {"Origin": "http://127.0.0.1:7860"}):
        with client.websocket_connect(page, headers=origin):
            pass
    for refused in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with pytest.raises(WebSocketDisconnect) as error:
            client.websocket_connect(page, headers=refused).__enter__()
        assert error.value.code == 1008


@pytest.mark.parametrize("name", ["https://a.org", "a.org/", "*", "a b", "a.org:port", "ä.org"])
def test_invalid_names_are_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is not a name of a server"):
        allowed_hosts([name])


def test_names_come_from_options_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVENET_ALLOW_HOSTS", "b.org, C.org:80")
    assert allowed_hosts(["A.org"]) == ["a.org", "b.org", "c.org:80"]


@pytest.mark.parametrize(
    ("address", "names", "expected"),
    [
        (None, (), True),
        ("::1", ("localhost:9000", "[::1]:80", "127.0.0.1"), True),
        ("0.0.0.0", (), False),
        ("127.0.0.1", ("studio.example.org",), False),
        ("127.0.0.1", ("192.168.1.5:80",), False),
    ],
)
def test_only_this_machine_uses_a_server_without_other_names(
    address: str | None, names: tuple[str, ...], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SPACE_ID", "SPACE_HOST", "GRADIO_SERVER_NAME", "WAVENET_ALLOW_HOSTS"):
        monkeypatch.delenv(variable, raising=False)
    assert is_only_local(address, names) is expected


def test_loopback_addresses() -> None:
    local = ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
    assert all(map(is_loopback, local))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.1.5", "localhost.evil.example", ""]))
