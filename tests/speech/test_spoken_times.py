"""The times of words and phones: those of the plan, from the beginning of the sound."""

from itertools import pairwise

import pytest

from tests.speech.tiny_voice import save_voice
from wavenet.speech.spoken_times import TimedSentence, time_sentence
from wavenet.speech.voice import SentencePlan
from wavenet.speech.voice_folder import load_voice

TEXT = "It is 5% so. Well, hello"


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[SentencePlan]:
    return list(load_voice(save_voice(tmp_path_factory.mktemp("voice") / "v")).plan(TEXT))


def test_words_have_their_text_their_place_and_all_their_phones(plans: list[SentencePlan]) -> None:
    first, second = (time_sentence(plan, 10, 20) for plan in plans)
    assert [word.text for word in first.words] == ["It", "is", "5%", "so"]
    phones = " ".join(phone.symbol for phone in first.words[2].phones)
    assert phones == "F AY1 V P ER0 S EH1 N T"
    for word in (*first.words, *second.words):
        assert TEXT[word.position :].startswith(word.text)
    assert TEXT[second.position :] == second.text


def test_times_are_those_of_the_plan_behind_the_start(plans: list[SentencePlan]) -> None:
    sentence = time_sentence(plans[0], 10, 20)
    times = plans[0].word_times()
    found = [time - 10 for word in sentence.words for time in (word.start, word.end)]
    expected = [*times[0], *times[1], times[2][0], times[3][1], *times[4]]
    assert found == pytest.approx(expected, abs=1e-4)
    phones = [phone for word in sentence.words for phone in word.phones]
    assert all(a.end <= b.start for a, b in pairwise(phones))
    assert all(phone.start < phone.end for phone in phones)


def test_no_time_is_behind_the_sound(plans: list[SentencePlan]) -> None:
    def last(sentence: TimedSentence) -> float:
        return max(phone.end for word in sentence.words for phone in word.phones)

    assert last(time_sentence(plans[0], 0, 100)) > 0.1
    assert last(time_sentence(plans[0], 0, 0.1)) == 0.1
