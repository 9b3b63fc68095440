"""A window of the system that shows the studio in place of a browser, by the package pywebview.

Input: the address of the page. The call ends when the user closes the window. Called by `wavenet
ui --window`.
"""

import signal
import sys
from pathlib import Path
from typing import Any

from audio_utils.optional_packages import install_command
from wavenet.errors import ConfigError

SIZE = (1280, 860)  # pixels
_ICON = Path(__file__).parent / "icon.svg"


def check_window(has_screen: bool) -> None:
    """Check that a window can probably be opened.

    Raises:
        ConfigError: there is no screen, or the package is missing.
    """
    if not has_screen:
        raise ConfigError("a window needs a screen, but there is none; omit --window")
    _import_webview()


def show_window(url: str, title: str, storage: Path | None) -> None:
    """Show a page in a window until the user closes it, or a signal ends the process.

    Args:
        url: of the page.
        title: of the window.
        storage: folder for the settings of the page; None: they are lost.
    Raises:
        ConfigError: no window can be opened.
    """
    webview = _import_webview()
    webview.settings["ALLOW_DOWNLOADS"] = True
    window = webview.create_window(title, url, width=SIZE[0], height=SIZE[1], text_select=True)

    def close(*_: object) -> None:
        window.destroy()

    # An error that a signal raises inside the loop of the window would abort the process.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), close)
    options = {"storage_path": str(storage)} if storage else {}
    if sys.platform == "linux":
        options["gui"] = "qt"  # the extra installs Qt; without it, GTK is tried
    try:
        webview.start(icon=str(_ICON), private_mode=storage is None, **options)
    except webview.WebViewException as error:
        raise ConfigError(
            f"no window can be opened ({str(error).splitlines()[0]}); omit --window to use the "
            "browser"
        ) from None


def _import_webview() -> Any:
    try:
        import webview
    except ImportError:
        raise ConfigError(
            "a window needs the package pywebview, which is missing; install it with "
            f"`{install_command('desktop')}`"
        ) from None
    return webview
