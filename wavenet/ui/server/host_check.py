"""Check that every request to the studio comes from the studio's own page or from a program.

A page of another site can send requests to a server on the user's machine. It can also read the
answers if a DNS server resolves its name to the address of that machine (DNS rebinding). Input: the
address that the server listens on, and other names of the server. Output: an ASGI middleware that
refuses requests with another Host or Origin. Called by `studio_app`.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavenet.errors import ConfigError

ALLOW_HOSTS = "WAVENET_ALLOW_HOSTS"  # variable: names of the server, separated by commas
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SPACE_DOMAIN = ".hf.space"
# Pages of the same machine, such as notebooks, may show the studio in a frame. Other sites may not:
# a user could press hidden buttons.
FRAME_POLICY = "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*"
_HOST = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_REMEDY = f"start the studio with --allow-host NAME, or with the variable {ALLOW_HOSTS}=NAME"


class HostCheck:
    """ASGI middleware that refuses requests of other sites before any other code receives them.

    - The Host must be a name of the server. If only this machine can reach the server, these are
      localhost, 127.0.0.1 and [::1] with its port; otherwise they are all IP addresses, because
      DNS rebinding needs a name. Other names must be allowed.
    - An Origin, which browsers send, must be such a name too; for a server that other machines can
      reach it must be the same as the Host, or an allowed name.
    - Sec-Fetch-Site, which new browsers also send, must not report another site, except if the
      user follows a link to the page.
    """

    def __init__(self, app: ASGIApp, address: str, allowed: Iterable[str] = ()) -> None:
        """Wrap an app.

        Args:
            app: receives the requests that are not refused.
            address: that the server listens on.
            allowed: other names of the server, in lower case; one without a port is for all ports.
        """
        self.app = app
        self.address = bracketed(address).lower()
        self.allowed = frozenset(allowed)
        self.is_local = is_loopback(address)
        self.is_space = "SPACE_ID" in os.environ

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer it with status 403 and one sentence."""
        reason = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self.app(scope, receive, send if self.is_space else partial(_add_policy, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        """Return why a request is refused; None if it is not."""
        headers = Headers(scope=scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or not self._is_own_host(hosts[0], _port(scope)):
            found = ascii(", ".join(hosts)[:100])
            return f"{found} is not a Host of this studio; if it should be one, {_REMEDY}."
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if len(origins) == 1 and self._is_allowed(origins[0].partition("://")[2]):
            return None
        if len(origins) > 1 or not all(self._is_own_origin(o, hosts[0], scope) for o in origins):
            found = ascii(", ".join(origins)[:100])
            return f"Requests of pages of {found} are refused; if you trust that site, {_REMEDY}."
        if _is_from_other_site(scope, headers):
            return "Requests of other sites are refused; open the page of the studio itself."
        return None

    def _is_own_host(self, host: str, port: int | None) -> bool:
        match = _HOST.fullmatch(host)
        if not match:
            return False
        if self._is_allowed(host):
            return True
        name, number = match[1], match[2] or ":80"
        if self.is_local:
            return number == f":{port}" and name in (*LOOPBACK_NAMES, self.address)
        if self.is_space and name.endswith(SPACE_DOMAIN):
            return True
        return name in ("localhost", self.address) or _is_ip_address(name)

    def _is_allowed(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        return match is not None and not self.allowed.isdisjoint((host, match[1]))

    def _is_own_origin(self, origin: str, host: str, scope: Scope) -> bool:
        scheme, _, source = origin.partition("://")
        if self.is_local:
            is_scheme = scheme == str(scope["scheme"]).replace("ws", "http")
            return is_scheme and self._is_own_host(source, _port(scope))
        # A proxy of a public server may add TLS.
        return scheme in ("http", "https") and source == host


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def is_only_local(address: str | None = None, names: Iterable[str] = ()) -> bool:
    """Return whether only this machine uses a server: by its address and its other names.

    Args:
        address: as in `server_address`.
        names: as in `allowed_hosts`.
    """
    hosts = [server_address(address), *allowed_hosts(names)]
    return all(is_loopback(re.sub(r"(?<=[^:]):[0-9]+$", "", host)) for host in hosts)


def server_address(address: str | None = None) -> str:
    """Return the address to listen on: the given one, or GRADIO_SERVER_NAME, or the default.

    Only this machine can reach the default, except on a Space.
    """
    default = "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"
    return address or os.environ.get("GRADIO_SERVER_NAME") or default


def bracketed(address: str) -> str:
    """Return an address as in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def allowed_hosts(names: Iterable[str] = ()) -> list[str]:
    """Return other names of the server, in lower case: the given ones and those of the environment.

    Raises:
        ConfigError: one of them is not a name of a server.
    """
    variables = f"{os.environ.get(ALLOW_HOSTS, '')},{os.environ.get('SPACE_HOST', '')}"
    hosts = [name.lower() for name in (*names, *re.split(r"[,\s]+", variables)) if name]
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ConfigError(
                f"{host[:100]!r} is not a name of a server; expected one such as "
                "studio.example.org, or studio.example.org:8443 for one port only"
            )
    return hosts


async def _add_policy(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        MutableHeaders(scope=message).append("content-security-policy", FRAME_POLICY)
    await send(message)


def _port(scope: Scope) -> int | None:
    """Return the port of the server, which may have been chosen automatically."""
    server: tuple[str, int | None] = scope.get("server") or ("", None)
    return server[1]


def _is_from_other_site(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser reports that a page of another site has sent the request."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    is_link = headers.get("sec-fetch-mode") == "navigate"
    return not (is_link and scope.get("method") in ("GET", "HEAD"))


def _is_ip_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return False
