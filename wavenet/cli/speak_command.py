"""`wavenet speak`: text -> speech.

Input: a text, a file, or stdin. Output: one audio file and its path on stdout, or the sound itself
on stdout while it is generated; on request subtitles and the times of words and phones. Sentences
are spoken one by one, so memory does not grow with the text. Called by `main`.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    RANDOM_SEED,
    AutoPrecisionOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    RandomSeedOption,
    TemperatureOption,
    ThreadsOption,
    choose_seed,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_outputs, plan_output_paths
from wavenet.cli.play_command import PlayOption, play_files
from wavenet.cli.text_input import (
    PronunciationsOption,
    TextArgument,
    TextFileOption,
    choose_text,
    open_text,
    read_pronunciations,
)
from wavenet.cli.unknown_words import UnknownWords
from wavenet.cli.unused_options import refuse_unused, refuse_unused_threads
from wavenet.errors import ConditionError, ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.speech.voice import SentencePlan

STDOUT = Path("-")


def speak(
    context: typer.Context,
    text: TextArgument = None,
    file: TextFileOption = None,
    voice: Annotated[
        Path, typer.Option("--voice", "-v", help="Voice: a folder, or a name.")
    ] = Path("kathleen"),
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="Speaker of the voice; default: its first.")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="0.25 to 4; 2 is twice as fast.")] = 1.0,
    pitch: Annotated[
        float, typer.Option("--pitch", help="Semitones, -12 to 12; above 0 is higher.")
    ] = 0.0,
    loudness: Annotated[
        float, typer.Option("--loudness", help="dB, -12 to 12; above 0 is louder.")
    ] = 0.0,
    melody: Annotated[
        float,
        typer.Option("--melody", help="How far the pitch moves, 0 to 3; 0 is monotonous."),
    ] = 1.0,
    pronunciations: PronunciationsOption = None,
    seed: RandomSeedOption = 0,
    temperature: TemperatureOption = None,
    engine_name: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: AutoPrecisionOption = "auto",
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Output file (.wav, .flac, .ogg, .mp3) or folder; - is stdout, as WAV.",
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="With --out -: samples of 16 bits without a WAV header."),
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
    play: PlayOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Speak English text (US) and print the path of the file written.

    Each sentence is spoken as soon as it has been read, so a text may have any length.
    [[HH AH0 L OW1]] in the text is a pronunciation; `wavenet phones` shows how a text is read.
    """
    source = choose_text(text, file)
    refuse_options_without_effect(context, out == STDOUT)
    path = check_targets(out, subtitles, timings, overwrite)

    from audio_utils.io import check_format
    from audio_utils.playback import check_player
    from wavenet.engines.registry import device_for
    from wavenet.generation.checkpoint_engine import make_checkpoint_engine
    from wavenet.generation.generate import warm_up
    from wavenet.sampling import resolve_sampling
    from wavenet.speech.voice import SpeakingStyle
    from wavenet.speech.voice_folder import load_voice

    if play:
        check_player()
    style = SpeakingStyle(speed, pitch, loudness, melody)
    user = {} if pronunciations is None else read_pronunciations(pronunciations)
    if seed == RANDOM_SEED:
        seed = choose_seed(seed)
        print_message(f"seed {seed}")
    loaded = load_voice(voice, user, device_for(engine_name, device))
    if path is not None:
        check_format(path, loaded.sample_rate)
    sampling = resolve_sampling(loaded.vocoder.config.sampling, temperature=temperature)
    engine = make_checkpoint_engine(engine_name, loaded.vocoder, precision, threads)
    try:
        with open_text(source) as parts, ExitStack() as stack:
            given = parts if source else text or ""
            plans = _with_words(loaded.plan(given, style, speaker, print_message))
            warm_up(loaded.vocoder, engine)
            writer = SpeechWriter(
                stack, path, (subtitles, timings), loaded.sample_rate, overwrite, raw
            )
            for plan in plans:
                writer.write(plan, loaded.speak_sentence(plan, seed, sampling, engine), quiet)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("" if path is None else "nothing was written") from None
    writer.print_end()
    if path is None:
        return
    if json_:
        print_json({**writer.describe(), "seed": seed, "precision": engine.precision})
    else:
        print_line(path)
    if play:
        play_files([path])


def refuse_options_without_effect(context: typer.Context, is_stdout: bool) -> None:
    """Refuse options that have no effect together with the others.

    Raises:
        ConfigError: such an option is given, or stdout cannot receive sound.
    """
    if is_stdout:
        refuse_unused(context, ("json_", "play"), "is not for --out -; omit one of them")
        if sys.stdout is None:
            raise ConfigError("stdout is closed; choose a file with --out")
        if sys.stdout.isatty():
            raise ConfigError(
                "stdout is a terminal; send the sound to a player, such as `| aplay`, or choose a "
                "file with --out"
            )
    else:
        refuse_unused(context, ("raw",), "is for --out -, the sound on stdout; omit it")
    refuse_unused_threads(context, context.params["engine_name"])


def check_targets(
    out: Path | None, subtitles: Path | None, timings: Path | None, overwrite: bool
) -> Path | None:
    """Check the output files before anything is loaded; return the audio file, None for stdout.

    Raises:
        ConfigError: a file exists, or its suffix or folder cannot be used.
    """
    endings = {"--subtitles": (".srt", ".vtt"), "--timings": (".jsonl",)}
    for (option, suffixes), path in zip(endings.items(), (subtitles, timings), strict=True):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} expects a name that ends in {' or '.join(suffixes)}, found {path.name}"
            )
        check_outputs([path], overwrite, option)
    return None if out == STDOUT else plan_output_paths(out, ["speech"], overwrite)[0]


class SpeechWriter:
    """Writes the sound of sentences while it is generated, and the files beside it.

    Args:
        stack: closes the files; after an error it removes them.
        path: audio file; None: stdout.
        others: paths of subtitles and timings; None: no such file.
        sample_rate: Hz.
        overwrite: whether existing files may be replaced.
        raw: whether stdout receives no WAV header.
    """

    def __init__(
        self,
        stack: ExitStack,
        path: Path | None,
        others: tuple[Path | None, Path | None],
        sample_rate: int,
        overwrite: bool,
        raw: bool,
    ):
        from audio_utils.audio_stream import open_audio_file, open_audio_pipe
        from wavenet.cli.speech_files import SpeechFiles

        for target in (path, *others):
            if target is not None:
                create_folder(target.parent)
        self._path, self._rate, self._begin = path, sample_rate, time.perf_counter()
        self._write: Callable[[Tensor], None]
        if path is None:
            self._write = open_audio_pipe(sys.stdout.buffer, sample_rate, with_header=not raw)
        else:
            self._write = stack.enter_context(open_audio_file(path, sample_rate, overwrite))
        self._files = SpeechFiles(stack, *others, overwrite)
        self._unknown = UnknownWords()
        self._samples = self._sentences = 0

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / self._rate

    def write(self, plan: "SentencePlan", chunks: "Iterable[Tensor]", quiet: bool) -> None:
        """Write a sentence; print its text, unless `quiet` or the sound is on stdout."""
        from wavenet.speech.spoken_times import time_sentence

        start = self.seconds
        for chunk in chunks:
            self._write(chunk)
            self._samples += chunk.numel()
        self._sentences += 1
        self._files.add(time_sentence(plan, start, self.seconds))
        self._unknown.add(plan.sentence)
        if self._path is not None and not quiet:
            print_message(f"{self.seconds:8.1f} s  {plan.sentence.text}")

    def print_end(self) -> None:
        """Print the words that are not in the dictionary, and the speed."""
        self._unknown.print_all()
        if self._path is not None:
            elapsed = time.perf_counter() - self._begin
            print_message(
                f"{self.seconds:.2f} s of audio in {elapsed:.2f} s, "
                f"{self.seconds / elapsed:.2f} times real time"
            )

    def describe(self) -> dict[str, Any]:
        """Return facts for the JSON document."""
        facts = {"file": str(self._path), "seconds": self.seconds, "sample_rate": self._rate}
        return {**facts, "sentences": self._sentences}


def _with_words(plans: "Iterator[SentencePlan]") -> "Iterator[SentencePlan]":
    """Return the plans after reading the first.

    Raises:
        ConditionError: there is none.
    """
    first = next(plans, None)
    if first is None:
        raise ConditionError("the text has no words that can be read; nothing was written")
    return chain([first], plans)
