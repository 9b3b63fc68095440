"""The clips of visitors: who sees them, when they expire, what is deleted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from wavenet.errors import ConditionError
from wavenet.ui.clip_history import clip_store
from wavenet.ui.clip_history.clip_store import Clip, ClipStore

RATE = 8000


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def store(tmp_path: Path, now: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[ClipStore]:
    monkeypatch.setattr(clip_store, "get_upload_folder", lambda: str(tmp_path))
    yield ClipStore(clock=lambda: now[0])


def add(store: ClipStore, token: str, **facts: Any) -> Clip:
    waveform = torch.full((RATE // 10,), 0.5)
    return store.add(token, waveform, RATE, "tone.wav", "tone", **facts)


def test_a_clip_is_stored_with_its_facts(store: ClipStore) -> None:
    token = store.visitor(None)
    clip = add(store, token, settings={"seed": 3}, is_partial=True)
    samples, rate = soundfile.read(clip.path)
    assert (len(samples), rate) == (RATE // 10, RATE)
    assert clip.rms == pytest.approx(0.5)
    assert clip.seconds == pytest.approx(0.1)
    assert clip.is_partial
    assert store.clips(token) == [clip]
    assert store.find(token, clip.clip_id) is clip


def test_visitors_see_only_their_own_clips(store: ClipStore) -> None:
    mine, other = store.visitor(None), store.visitor(None)
    clip = add(store, mine)
    assert store.clips(other) == []
    with pytest.raises(ConditionError):
        store.find(other, clip.clip_id)


@pytest.mark.parametrize("token", [None, 7, "unknown", ["x"], {"a": 1}])
def test_any_token_is_accepted_and_an_unknown_one_is_replaced(store: ClipStore, token: Any) -> None:
    assert store.clips(token) == []
    new = store.visitor(token)
    assert new != token
    assert store.visitor(new) == new


def test_unpinned_clips_expire_and_pinned_ones_stay(store: ClipStore, now: list[float]) -> None:
    token = store.visitor(None)
    expiring, pinned = add(store, token), add(store, token)
    store.pin(token, pinned.clip_id)
    now[0] += clip_store.CLIP_SECONDS - 1
    store.delete_expired()
    assert len(store.clips(token)) == 2
    now[0] += 2
    store.delete_expired()
    assert [clip.clip_id for clip in store.clips(token)] == [pinned.clip_id]
    assert not expiring.path.exists()
    assert store.paths() == {str(pinned.path)}


def test_the_oldest_unpinned_clip_makes_space(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    monkeypatch.setattr(clip_store, "MAX_CLIPS", 2)
    token = store.visitor(None)
    clips = []
    for n in range(3):
        now[0] += 1
        clips.append(add(store, token))
        if n == 0:
            store.pin(token, clips[0].clip_id)
    kept = {clip.clip_id for clip in store.clips(token)}
    assert kept == {clips[0].clip_id, clips[2].clip_id}


def test_all_clips_together_have_a_limit(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    size = add(store, store.visitor(None)).path.stat().st_size
    monkeypatch.setattr(clip_store, "MAX_BYTES", 2 * size)
    tokens = [store.visitor(None) for _ in range(3)]
    for token in tokens:
        now[0] += 1
        add(store, token)
    assert [len(store.clips(token)) for token in tokens] == [0, 1, 1]


def test_the_longest_unseen_visitor_makes_space(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_store, "MAX_VISITORS", 2)
    first, second = store.visitor(None), store.visitor(None)
    clip = add(store, second)
    store.visitor(first)
    store.visitor(None)
    assert store.clips(second) == []
    assert not clip.path.exists()


def test_a_clip_whose_file_is_gone_is_not_listed(store: ClipStore) -> None:
    token = store.visitor(None)
    clip = add(store, token)
    clip.path.unlink()
    assert store.clips(token) == []


def test_delete_removes_the_file(store: ClipStore) -> None:
    token = store.visitor(None)
    clip = add(store, token)
    store.delete(token, clip.clip_id)
    assert not clip.path.parent.exists()
    with pytest.raises(ConditionError):
        store.delete(token, clip.clip_id)
