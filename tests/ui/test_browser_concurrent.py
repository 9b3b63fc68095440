"""More than one person at once: each hears their own sound, and who finds no place is told so."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from wavenet.ui import jobs
from wavenet.ui.player import pcm16

from .conftest import RATE, visit
from .stage import PATIENCE
from .test_browser import generate, wait_for_ahead, wait_for_status

pytestmark = pytest.mark.browser

SECONDS = PATIENCE / 1000
USERS = 20
PLACES = 16  # in the queue, beside the one who is served


def own_clip(page: Any, seconds: float) -> bytes:
    """Give the samples of the file, once what was played is found in it, piece after piece.

    A busy page loses updates, and says so: then pieces are missing, but none is foreign.
    """
    assert wait_for_status(page, "Finished")
    link = page.wait_for_selector("#result a[download]")
    answer = page.request.get(link.evaluate("link => link.href"))
    saved, rate = soundfile.read(BytesIO(answer.body()), dtype="int16")
    assert (len(saved), rate) == (seconds * RATE, RATE)
    chunks = [np.array(c["samples"], "<i2").tobytes() for c in page.evaluate("scheduled")]
    whole, at = saved.astype("<i2").tobytes(), 0
    for chunk in chunks:
        at = whole.find(chunk, at)
        assert at >= 0, "a piece that is not of this clip, or out of turn"
        at += len(chunk)
    if page.inner_text('[data-key="lost"]') == "0":
        assert b"".join(chunks) == whole
    return whole


def choose_engine(page: Any, name: str) -> None:
    if not page.is_visible("#engine input"):
        page.click("text=Sampling")
    page.click("#engine input")
    page.click(f"[role=option]:has-text('{name}')")


def test_two_users_hear_their_own_clips_and_stop_their_own(page: Any, browser: Any, url: str):
    with visit(browser, url) as other:
        generate(page, seconds=2, seed=1)
        generate(other, seconds=2, seed=2)
        clips = [own_clip(sheet, 2) for sheet in (page, other)]
        assert clips[0] != clips[1]

        generate(page, seconds=30, seed=3)
        generate(other, seconds=3, seed=4)
        wait_for_ahead(page, 9)
        page.wait_for_function("level() > 0.01")
        page.click("#stop")
        assert wait_for_status(page, "Stopped")
        page.wait_for_function("level() === 0", timeout=8000)
        own_clip(other, 3)
        assert other.input_value("#used-seed input") == "4"

        # who waits for the model is not stopped either, but gets it
        choose_engine(page, "cached")
        generate(page, seconds=30)
        page.wait_for_function("document.querySelector('[data-key=speed]').textContent !== '–'")
        generate(other, seconds=1, seed=5)
        page.click("#stop")
        own_clip(other, 1)


def wish(user: int) -> dict[str, Any]:
    """What a user asks for: nobody asks for the same."""
    labels = {"digit": str(user % 10), "speaker": "jackson"}
    return {"labels": labels, "seconds": 0.25, "seed": 100 + user}


def ask(url: str, user: int) -> httpx.Response:
    """Ask for a clip; the answer, a number or a refusal, comes while somebody holds the model."""
    asked = {"checkpoint": "digits", **wish(user)}
    return httpx.post(f"{url}/gradio_api/call/v2/generate", json=asked, timeout=SECONDS)


def fetch(url: str, answer: httpx.Response) -> tuple[str, Any]:
    """Wait for a clip; give the name of its file and its samples."""
    told = httpx.get(f"{url}/gradio_api/call/generate/{answer.json()['event_id']}", timeout=SECONDS)
    assert told.status_code == 200 and "event: complete" in told.text, told.text
    data = told.text.split("event: complete\ndata: ")[1].splitlines()[0]
    (file,) = json.loads(data)
    samples, rate = soundfile.read(BytesIO(httpx.get(file["url"]).content), dtype="int16")
    assert rate == RATE
    return Path(file["path"]).name, samples


def test_a_crowd_gets_its_own_clips_or_the_word_that_there_is_no_place(
    page: Any, browser: Any, url: str, root: Path
):
    """Somebody holds the model until Stop, so that exactly so many places are left."""
    with visit(browser, url) as late, ThreadPoolExecutor(USERS) as crowd:
        for sheet in (page, late):  # what a page prepares when it opens takes a place as well
            generate(sheet, seconds=0.25)
            wait_for_status(sheet, "Finished")
        choose_engine(page, "cached")
        generate(page, seconds=30)
        page.wait_for_function("document.querySelector('[data-key=speed]').textContent !== '–'")

        asked = list(crowd.map(lambda user: ask(url, user), range(USERS)))
        taken = {user: answer for user, answer in enumerate(asked) if answer.is_success}
        refused = [answer for answer in asked if not answer.is_success]
        assert len(taken) == PLACES
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.json()["detail"].split(".")[0] for answer in refused} == {"Queue is full"}
        generate(late)
        late.wait_for_selector("[data-testid=toast-body] >> text=busy. Please try again")
        assert wait_for_status(late, "It ended early")
        assert httpx.get(url).status_code == 200

        page.click("#stop")
        clips = list(crowd.map(lambda answer: fetch(url, answer), taken.values()))
        for user, (name, samples) in zip(taken, clips, strict=True):
            wanted = wish(user)
            assert name == f"digits_{wanted['labels']['digit']}_jackson_seed{wanted['seed']}.wav"
            job = jobs.make_job(jobs.load_named(root, "digits"), jobs.Wish(**wanted))
            assert samples.astype("<i2").tobytes() == pcm16(job.waveform())
        # who was refused tries again, and finds a place
        generate(late, seconds=0.5)
        assert wait_for_status(late, "Finished") == "Finished: 0.50 s."
