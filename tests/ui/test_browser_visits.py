"""The visits of the browser tests are independent, although their tabs share a cache and a process.

Each page of a test opens as for a user who has never been here, whatever the test before has done.
"""

from typing import Any

import pytest

from .conftest import VIEWPORT, fresh_visit

pytestmark = pytest.mark.browser

# What a page finds: names in its storages, its window, and an own variable.
STATE_JS = """() => ({
  kept: [...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie].join(' '),
  size: [innerWidth, innerHeight],
  isCalm: matchMedia('(prefers-reduced-motion: reduce)').matches,
  touches: navigator.maxTouchPoints,
  isOnline: navigator.onLine,
  mark: window.mark ?? null,
  clips: [...document.querySelectorAll('#history [data-clip]')].map((clip) => clip.dataset.clip),
})"""


def change_everything(page: Any) -> None:
    """Leave what a test can leave: kept values, another window, a slow and offline device."""
    page.evaluate(
        """() => {
          localStorage.setItem('left', '1');
          sessionStorage.setItem('left', '1');
          document.cookie = 'left=1';
          window.mark = 1;
        }"""
    )
    page.set_viewport_size({"width": 375, "height": 812})
    page.emulate_media(reduced_motion="reduce")
    page.route("**/*", lambda route: route.abort())
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    session.send("Network.emulateNetworkConditions", offline)


@pytest.mark.slow
def test_a_visit_finds_nothing_of_the_visit_before(opener: Any, url: str) -> None:
    with fresh_visit(opener, url) as page:
        before = page.evaluate(STATE_JS)
        change_everything(page)
        changed = page.evaluate(STATE_JS)
    assert all(changed[name] != before[name] for name in before.keys() - {"clips"})
    with fresh_visit(opener, url) as page:
        after = page.evaluate(STATE_JS)
    assert before["size"] == [VIEWPORT["width"], VIEWPORT["height"]]
    assert "left" not in after["kept"]
    assert after["clips"] and not set(after["clips"]) & set(before["clips"])
    # The names that the studio itself keeps may differ by the time of the look.
    assert {**after, "kept": "", "clips": []} == {**before, "kept": "", "clips": []}
