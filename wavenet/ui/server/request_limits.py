"""Limit the size of requests, and log failed requests in one line.

Input: requests. Output: two ASGI middlewares. One refuses requests that are too large before they
are read; Gradio itself limits only single files. The other logs a failed request in one line.
Called by `studio_app`.
"""

import logging
from pathlib import Path

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wavenet.ui.server.temporary_files import free_bytes

UPLOAD_PATH = "/gradio_api/upload"
_LOG = logging.getLogger(__name__)
# Of all requests except uploads; one may contain a recording of 20 MB as text.
MAX_BODY_BYTES = 32 * 10**6


class RequestLimits:
    """ASGI middleware that refuses a request if its body would need too much memory or disk.

    The size is the Content-Length, which the server enforces; a body without it is refused.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        """Wrap an app.

        Args:
            app: receives the requests that are not refused.
            folder: of uploads and results.
        """
        self.app = app
        self.folder = folder
        self.pending_bytes = 0  # of the uploads that are being received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer it with status 411, 413 or 507 and one sentence."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        length = headers.get("content-length", "0")
        size = int(length) if length.isdecimal() else 0  # the server has refused other texts
        if "transfer-encoding" in headers:
            await _refuse(411, "Expected a request with Content-Length.")(scope, receive, send)
        elif scope["type"] != "http" or scope["path"].rstrip("/") != UPLOAD_PATH:
            limit = f"A request may have {MAX_BODY_BYTES // 10**6} MB; upload recordings as files."
            app = _refuse(413, limit) if size > MAX_BODY_BYTES else self.app
            await app(scope, receive, send)
        else:
            free = await anyio.to_thread.run_sync(free_bytes, self.folder) - self.pending_bytes
            if size > free:
                await _refuse(507, _no_space(size, free))(scope, receive, send)
                return
            self.pending_bytes += size
            try:
                await self.app(scope, receive, send)
            finally:
                self.pending_bytes -= size


class ShortReports:
    """ASGI middleware that logs one line, not a traceback, if Gradio raises an error.

    Only requests that the page never sends fail here: functions of the studio run in the queue,
    which reports their errors.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app that sends an answer with status 500 before it raises an error."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request; log its error in one line."""
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:  # an interrupted upload
            pass
        except Exception as error:
            if scope["type"] != "http":
                raise
            request, kind = f"{scope['method']} {scope['path']}"[:200], type(error).__name__
            _LOG.error("the request %a failed: %s: %a", request, kind, str(error)[:200])


def _refuse(status: int, sentence: str) -> ASGIApp:
    # The rest of the body is not read, so the connection cannot be reused.
    return PlainTextResponse(sentence, status_code=status, headers={"connection": "close"})


def _no_space(size: int, free: int) -> str:
    return (
        f"The uploaded files have {size / 1e6:,.0f} MB, but the studio has space for "
        f"{max(free, 0) / 1e6:,.0f} MB; try again later, when old files have been deleted."
    )
