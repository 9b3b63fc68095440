"""What the studio does differently because of Gradio, in one place; each with version and thread.

Checked with Gradio 6.31. Called by `studio_app`, `checked_blocks` and the tabs.

- Upload names: Gradio removes letters such as "!" and ":" from the names of uploaded files
  (gradio-app/gradio issues 11983 and 10451). Tables and patterns refer to these names, so
  `keep_upload_names` replaces the function, the only one of a library that the studio replaces.
- Remote files: every file input downloads any public URL that a program passes, of any size.
  `resolve_urls` allows only the URLs of files that this studio serves.
- Middleware: Gradio's own middleware answers requests of other sites before one that is added by
  `add_middleware`; `protect` puts the checks of the studio outside of it.
- Updates: Gradio removes the value from the update that it sends (issue 3282), so `wiring` gives it
  copies.
- Stop: if the answer of `cancels` is late, the page mistakes the next job for the stopped one, and
  `.then` is not called (issue 10432); `event_handling.StopRequests` is used instead.
- Line plots draw only curves that existed in the first value; `run_view` adds an empty point.
- Audio inputs refuse files whose type is not audio, such as videos; see `audio_file_types.js`.
- Run history, statistics and flagging are switched off in `wavenet.ui`, before Gradio is imported.
"""

from collections.abc import Callable
from typing import Any

from gradio.routes import App
from gradio_client import utils as client_utils  # type: ignore[import-untyped]
from starlette.types import ASGIApp

from wavenet.ui.server.uploads import resolve_served_file, valid_file_name


def keep_upload_names() -> None:
    """Store uploads under their names, as far as this system allows them."""
    client_utils.strip_invalid_filename_characters = valid_file_name


def resolve_urls(value: Any) -> Any:
    """Return the value of an input with the paths of stored files instead of their URLs.

    Raises:
        ConditionError: a file is given by the URL of another server.
    """
    return client_utils.traverse(value, _resolve, client_utils.is_file_obj_with_meta)


def _resolve(file: dict[str, Any]) -> dict[str, Any]:
    path = file.get("path")
    if isinstance(path, str) and client_utils.is_http_url_like(path):
        return file | {"path": resolve_served_file(path)}
    return file


def protect(app: App, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put a middleware outside of all middleware of a starting server."""
    assert app.middleware_stack is not None
    app.middleware_stack = wrap(app.middleware_stack)
