"""Several users at once: each receives their own clip, and a full queue is reported."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generation_job import GenerateSettings, make_generation_job
from wavenet.ui.live_player import encode_pcm16

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
QUEUE_SIZE = 16  # besides the event that runs


def finished_clip(page: Any, seconds: float) -> bytes:
    """Return the samples of the saved file, and check that the page played only parts of it.

    A busy page loses updates and reports them: then chunks are missing, but none is from another
    clip.
    """
    assert wait_for_status(page, "Finished")
    saved, rate = soundfile.read(BytesIO(download(page, "#result")), dtype="int16")
    assert (len(saved), rate) == (seconds * RATE, RATE)
    chunks = [np.array(c["samples"], "<i2").tobytes() for c in page.evaluate("scheduled")]
    clip, position = saved.astype("<i2").tobytes(), 0
    for chunk in chunks:
        position = clip.find(chunk, position)
        assert position >= 0, "a chunk of another clip, or out of order"
        position += len(chunk)
    if page.inner_text('[data-key="lost"]') == "0":
        assert b"".join(chunks) == clip
    return clip


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
        assert other.input_value("#used-seed input") == "4"

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


def wait_for_clip(url: str, response: httpx.Response) -> tuple[str, Any]:
    """Wait for a requested clip; return the name of its file and its samples."""
    event = response.json()["event_id"]
    answer = httpx.get(f"{url}/gradio_api/call/generate/{event}", timeout=SECONDS)
    assert answer.status_code == 200 and "event: complete" in answer.text, answer.text
    data = answer.text.split("event: complete\ndata: ")[1].splitlines()[0]
    (file,) = json.loads(data)
    samples, rate = soundfile.read(BytesIO(httpx.get(file["url"]).content), dtype="int16")
    assert rate == RATE
    return Path(file["path"]).name, samples


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

        responses = list(users.map(lambda user: request_clip(url, user), range(USERS)))
        accepted = {
            user: response for user, response in enumerate(responses) if response.is_success
        }
        refused = [response for response in responses if not response.is_success]
        assert len(accepted) == QUEUE_SIZE
        assert {response.status_code for response in refused} == {503}
        assert {r.json()["detail"].split(".")[0] for r in refused} == {"Queue is full"}
        generate(late)
        late.wait_for_selector("[data-testid=toast-body] >> text=busy. Please try again")
        assert wait_for_status(late, "Failed")
        assert httpx.get(url).status_code == 200

        page.click("#stop")
        clips = list(users.map(lambda response: wait_for_clip(url, response), accepted.values()))
        for user, (name, samples) in zip(accepted, clips, strict=True):
            settings = GenerateSettings(**settings_of(user))
            assert name == f"digits_{settings.conditions['digit']}_jackson_seed{settings.seed}.wav"
            job = make_generation_job(load_checkpoint(root, "digits"), settings)
            assert samples.astype("<i2").tobytes() == encode_pcm16(job.first_waveform())
        # The refused user tries again and gets a clip.
        generate(late, seconds=0.5)
        assert wait_for_status(late, "Finished") == "Finished: 0.50 s."
