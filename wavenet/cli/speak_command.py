"""`wavenet speak`: text -> speech.

Input: a text, a file, or stdin. Output: one audio file and its path on stdout, or the sound itself
on stdout while it is generated; on request subtitles and the times of words and phones. Sentences
are spoken one by one, so memory does not grow with the text. Called by `main`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from audio_utils.atomic_files import atomic_file
from wavenet.cli.options import (
    EngineOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    RandomSeedOption,
    TemperatureOption,
    choose_seed,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_outputs
from wavenet.cli.text_input import (
    PronunciationsOption,
    TextArgument,
    TextFileOption,
    choose_text,
    open_text,
    read_pronunciations,
)
from wavenet.errors import ConditionError, ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.speech.voice import SentencePlan

STDOUT = Path("-")
DEFAULT_OUT = Path("speech.wav")
STOPPED = 130  # exit code


def speak(
    text: TextArgument = None,
    file: TextFileOption = None,
    voice: Annotated[
        Path, typer.Option("--voice", "-v", help="Voice: a folder, or a name.")
    ] = Path("kathleen"),
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="Speaker of the voice; default: its first.")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="2 is twice as fast.")] = 1.0,
    pitch: Annotated[float, typer.Option("--pitch", help="Semitones up or down.")] = 0.0,
    loudness: Annotated[float, typer.Option("--loudness", help="dB louder or softer.")] = 0.0,
    melody: Annotated[
        float, typer.Option("--melody", help="Movement of the pitch; 0 is monotonous.")
    ] = 1.0,
    pronunciations: PronunciationsOption = None,
    seed: RandomSeedOption = 0,
    temperature: TemperatureOption = None,
    engine: EngineOption = "auto",
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Output file (.wav, .flac, .ogg, .mp3); - is stdout, as WAV."
        ),
    ] = DEFAULT_OUT,
    raw: Annotated[
        bool, typer.Option("--raw", help="With --out -: 16-bit samples without a WAV header.")
    ] = False,
    subtitles: Annotated[
        Path | None, typer.Option("--subtitles", help="Also write subtitles (.srt or .vtt).")
    ] = None,
    timings: Annotated[
        Path | None,
        typer.Option(
            "--timings", help="Also write the times of words and phones (.jsonl), line by line."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Speak English text and print the path of the output file.

    Each sentence is generated as soon as it has been read. [[HH AH0 L OW1]] in the text is a
    pronunciation; `wavenet phones` shows how a text is read.
    """
    source = choose_text(text, file)
    check_targets(out, raw, subtitles, timings, overwrite)

    from wavenet.sampling import resolve_sampling
    from wavenet.speech.voice import SpeakingStyle
    from wavenet.speech.voice_folder import load_voice

    style = SpeakingStyle(speed, pitch, loudness, melody)
    user = {} if pronunciations is None else read_pronunciations(pronunciations)
    seed = choose_seed(seed)
    loaded = load_voice(voice, user)
    sampling = resolve_sampling(loaded.vocoder.config.sampling, temperature=temperature)
    with ExitStack() as stack:
        parts = stack.enter_context(open_text(source))
        plans = loaded.plan(parts if source else text or "", style, speaker)
        first = next(plans, None)
        if first is None:
            raise ConditionError("the text has no words that can be read; nothing was written")
        write = _open_sound(stack, out, raw, loaded.sample_rate, overwrite)
        log = SpeechLog(stack, subtitles, timings, overwrite)
        samples = 0
        for number, plan in enumerate(_with_first(first, plans)):
            for notice in plan.sentence.notices:
                print_message(notice)
            begin = samples
            for chunk in loaded.speak_sentence(plan, seed + number, sampling, engine):
                write(chunk)
                samples += len(chunk)
            log.add(plan, begin / loaded.sample_rate, samples / loaded.sample_rate)
            if not quiet and out != STDOUT:
                print_message(
                    f"{samples / loaded.sample_rate:8.1f} s  {plan.sentence.text.strip()}"
                )
    if json_:
        record = {"path": str(out), "seconds": samples / loaded.sample_rate, "seed": seed}
        print_json({**record, "sentences": log.sentences, "voice": loaded.name})
    elif out != STDOUT:
        print_line(str(out))


def check_targets(
    out: Path, raw: bool, subtitles: Path | None, timings: Path | None, overwrite: bool
) -> None:
    """Check the output files before anything is loaded.

    Raises:
        ConfigError: a file exists, or its suffix or folder cannot be used.
    """
    from wavenet.speech.subtitles import SUFFIXES

    if raw and out != STDOUT:
        raise ConfigError("--raw is for --out -, the samples on stdout; omit it")
    if subtitles is not None and subtitles.suffix not in SUFFIXES:
        raise ConfigError(f"--subtitles expects a name with .srt or .vtt, found {subtitles.name}")
    given = {"--out": out, "--subtitles": subtitles, "--timings": timings}
    for option, path in given.items():
        if path is not None and path != STDOUT:
            check_outputs([path], overwrite, option)
            create_folder(path.parent)


class SpeechLog:
    """Writes subtitles and times of sentences while they are spoken.

    Args:
        stack: closes the files.
        subtitles, timings: paths; None: no such file.
        overwrite: whether existing files may be replaced.
    """

    def __init__(
        self, stack: ExitStack, subtitles: Path | None, timings: Path | None, overwrite: bool
    ):
        from wavenet.speech.subtitles import subtitle_header

        self.sentences = 0
        self._suffix = "" if subtitles is None else subtitles.suffix
        self._subtitles = _open_lines(stack, subtitles, overwrite)
        self._timings = _open_lines(stack, timings, overwrite)
        if self._subtitles:
            self._subtitles.write(subtitle_header(self._suffix))

    def add(self, plan: "SentencePlan", start: float, end: float) -> None:
        """Add a sentence that is spoken from `start` to `end`, s."""
        from wavenet.speech.subtitles import format_cue

        self.sentences += 1
        if self._subtitles:
            text = plan.sentence.text
            self._subtitles.write(format_cue(self._suffix, self.sentences, start, end, text))
        if self._timings:
            self._timings.write(_json_line(describe_plan(plan, start)))


def describe_plan(plan: "SentencePlan", start: float) -> dict[str, Any]:
    """Return the times of a sentence that begins at `start`, s, as a JSON document."""
    times = plan.word_times()
    words = []
    index = 0
    for written in plan.sentence.words:
        own = times[index : index + len(written.read)]
        index += len(written.read)
        words.append(
            {
                "text": written.written,
                "start": round(start + own[0][0], 4),
                "end": round(start + own[-1][1], 4),
            }
        )
    phones = [
        [spoken.token.symbol, round(start + spoken.start, 4), round(start + spoken.end, 4)]
        for spoken in plan.tokens
        if spoken.end > spoken.start
    ]
    return {"text": plan.sentence.text.strip(), "words": words, "phones": phones}


def _json_line(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, ensure_ascii=False) + "\n"


def _open_lines(stack: ExitStack, path: Path | None, overwrite: bool) -> IO[str] | None:
    if path is None:
        return None
    temporary = stack.enter_context(atomic_file(path, overwrite))
    return stack.enter_context(open(temporary, "w", encoding="utf-8"))


def _open_sound(
    stack: ExitStack, out: Path, raw: bool, sample_rate: int, overwrite: bool
) -> "Callable[[Tensor], object]":
    from audio_utils.audio_stream import open_audio_file, open_audio_pipe

    if out == STDOUT:
        return open_audio_pipe(sys.stdout.buffer, sample_rate, with_header=not raw)
    return stack.enter_context(open_audio_file(out, sample_rate, overwrite))


def _with_first(
    first: "SentencePlan", others: "Iterator[SentencePlan]"
) -> "Iterator[SentencePlan]":
    yield first
    yield from others
