"""Several users at once: each receives their own clip, and a full queue is reported."""

import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generation_job import GenerateSettings, make_generation_job
from wavenet.ui.generate.live_player import encode_pcm16
from wavenet.ui.turns import MAX_WAITING

from .conftest import RATE, visit
from .studio_process import TIMEOUT_MS
from .test_browser_generate import (
    choose_engine,
    download,
    generate,
    wait_for_buffered,
    wait_for_speed,
    wait_for_status,
)

pytestmark = pytest.mark.browser

SECONDS = TIMEOUT_MS / 1000
USERS = 20


def finished_clip(page: Any, seconds: float) -> bytes:
    """Return the samples of the saved file, and check that the page played only parts of it.

    A busy page loses updates and reports them: then chunks are missing, but none is from another
    clip.
    """
    assert wait_for_status(page, "Finished")
    page.wait_for_selector("#results:not(.old)")
    saved, rate = soundfile.read(BytesIO(download(page)), dtype="int16")
    assert (len(saved), rate) == (seconds * RATE, RATE)
    chunks = [np.array(c["samples"], "<i2").tobytes() for c in page.evaluate("scheduled")]
    clip, position = saved.astype("<i2").tobytes(), 0
    for chunk in chunks:
        position = clip.find(chunk, position)
        assert position >= 0, "a chunk of another clip, or out of order"
        position += len(chunk)
    if page.text_content('[data-key="lost"]') == "0":
        assert b"".join(chunks) == clip
    return clip


@pytest.mark.slow
def test_users_hear_and_stop_only_their_own_clips(page: Any, browser: Any, url: str) -> None:
    with visit(browser, url) as other:
        generate(page, seconds=2, seed=1)
        generate(other, seconds=2, seed=2)
        clips = [finished_clip(user, 2) for user in (page, other)]
        assert clips[0] != clips[1]

        generate(page, seconds=30, seed=3)
        generate(other, seconds=3, seed=4)
        wait_for_buffered(page, 9)
        page.wait_for_function("level() > 0.01")
        page.click("#stop")
        assert wait_for_status(page, "Stopped")
        page.wait_for_function("level() === 0", timeout=8000)
        finished_clip(other, 3)
        assert "seed 4" in other.inner_text("#history li >> nth=0")

        # A stop does not remove waiting runs of others.
        choose_engine(page, "cached")
        generate(page, seconds=30)
        wait_for_speed(page)
        generate(other, seconds=1, seed=5)
        page.click("#stop")
        finished_clip(other, 1)


def settings_of(user: int) -> dict[str, Any]:
    """Return the settings of a user, different for each."""
    conditions = {"digit": str(user % 10), "speaker": "jackson"}
    return {"conditions": conditions, "seconds": 0.25, "seed": 100 + user}


def request_clip(url: str, user: int) -> httpx.Response:
    """Request a clip; the response is the number of an event, or a refusal."""
    body = {"checkpoint": "digits", **settings_of(user)}
    return httpx.post(f"{url}/gradio_api/call/v2/generate", json=body, timeout=SECONDS)


def wait_for_answer(url: str, event: str) -> str:
    """Wait for the answer to a request."""
    answer = httpx.get(f"{url}/gradio_api/call/generate/{event}", timeout=SECONDS)
    assert answer.status_code == 200
    return answer.text


def read_clip(text: str) -> tuple[str, Any]:
    """Return the name of the file in an answer, and its samples."""
    data = text.split("event: complete\ndata: ")[1].splitlines()[0]
    (file,) = json.loads(data)
    samples, rate = soundfile.read(BytesIO(httpx.get(file["url"]).content), dtype="int16")
    assert rate == RATE
    return Path(file["path"]).name, samples


@pytest.mark.slow  # other tests check its parts
def test_full_queue_refuses_and_all_others_get_their_own_clips(
    page: Any, browser: Any, url: str, root: Path
) -> None:
    """One user occupies the model until Stop, so the number of free places is known."""
    with visit(browser, url) as late, ThreadPoolExecutor(USERS) as users:
        for visitor in (page, late):  # events of a page that opens need a place too
            generate(visitor, seconds=0.25)
            wait_for_status(visitor, "Finished")
        choose_engine(page, "cached")
        generate(page, seconds=30)
        wait_for_speed(page)

        requests = users.map(lambda user: request_clip(url, user), range(USERS))
        events = [response.json()["event_id"] for response in requests]
        answers = [users.submit(wait_for_answer, url, event) for event in events]
        finished = as_completed(answers, timeout=SECONDS)
        refused = [next(finished).result() for _ in range(USERS - MAX_WAITING)]
        assert all("The studio is busy" in text for text in refused)
        generate(late)
        late.wait_for_selector("[data-testid=toast-body] >> text=The studio is busy")
        assert wait_for_status(late, "The studio is busy")
        assert httpx.get(url).status_code == 200

        page.click("#stop")
        texts = [answer.result() for answer in answers]
        accepted = {user: text for user, text in enumerate(texts) if "event: complete" in text}
        assert len(accepted) == MAX_WAITING
        for user, text in accepted.items():
            name, samples = read_clip(text)
            settings = GenerateSettings(**settings_of(user))
            assert name == f"digits_{settings.conditions['digit']}_jackson_seed{settings.seed}.wav"
            job = make_generation_job(load_checkpoint(root, "digits"), settings)
            assert samples.astype("<i2").tobytes() == encode_pcm16(job.first_waveform())
        # The refused user tries again and gets a clip.
        generate(late, seconds=0.5)
        assert wait_for_status(late, "Finished") == "Finished: 0.50 s."
