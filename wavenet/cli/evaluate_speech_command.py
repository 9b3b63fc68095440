"""`wavenet evaluate speech`: a voice in comparison with recordings and other programs."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.evaluate_common import METRICS_FILE, command_line, write_report
from wavenet.cli.options import (
    JsonOption,
    OverwriteOption,
    create_folder,
    parse_assignments,
    print_message,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import ConfigError, DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.evaluation.speech_evaluation import SoundMeasures
    from wavenet.evaluation.speech_systems import OtherSystem, RecordedSentence, SystemSound
    from wavenet.speech.speech_corpus import SpeechClip

VoiceOption = Annotated[Path, typer.Option("--voice", "-v", help="Voice: a folder, or a name.")]
SpeakerOption = Annotated[
    str | None, typer.Option("--speaker", help="Speaker of the voice; default: its first.")
]
DEFAULT_VOICE = Path("kathleen")
PICTURES = 3  # sentences that are drawn
SOUNDS_FOLDER = "sounds"
# head, key of a row, width, format; * multiplies by 100
COLUMNS = (
    ("WER %", "word_error_rate", 6, "*.1f"),
    ("align", "alignment", 6, ".2f"),
    ("DNSMOS", "dnsmos", 6, ".2f"),
    ("speaker", "similarity", 7, ".3f"),
    ("PESQ", "pesq", 5, ".2f"),
    ("STOI", "stoi", 5, ".3f"),
    ("MCD dB", "mel_cepstral", 6, ".2f"),
    ("dur r", "duration_correlation", 5, ".2f"),
    ("F0 st", "f0_semitones", 5, ".2f"),
    ("voicing %", "voicing", 9, "*.1f"),
)


def speech(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder with metadata.csv and wavs/, as LJSpeech has it: test sentences."
        ),
    ],
    voice: VoiceOption = DEFAULT_VOICE,
    clips: Annotated[
        str | None,
        typer.Option(
            help="Test sentences: a file with an id per line, or a number, evenly selected; "
            "default: all."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Sounds of each sentence: seeds 0, 1, ...")
    ] = 3,
    speaker: SpeakerOption = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="Another system, --system NAME=FOLDER: the folder has its sound ID.wav of each "
            "sentence. Repeatable."
        ),
    ] = None,
    gain: Annotated[
        float,
        typer.Option(
            min=-60, max=60, help="dB added to the recordings, as in the training of the voice."
        ),
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for metrics.json, all sounds and three pictures."),
    ] = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Compare a voice with recordings of the same sentences, copy synthesis and other programs.

    Lower is better for the word error rate (WER) of a recogniser, the mel-cepstral distance (MCD),
    and the errors of pitch (F0, semitones) and voicing. Higher is better for the score of the
    alignment, DNSMOS, the similarity of the speaker, PESQ, STOI, and the correlation of the
    durations of phones. Only differences to the recordings have a meaning. The interval is the 95 %
    bootstrap interval over sentences. Judges that are not installed are left out.
    """
    from audio_utils.plots import plot_mel_rows
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.evaluation.speech_evaluation import evaluate_speech
    from wavenet.evaluation.speech_judges import load_judges
    from wavenet.evaluation.speech_systems import find_programs, program_system
    from wavenet.speech.voice_folder import load_voice

    check_output_folder(out, [METRICS_FILE], overwrite)
    loaded = load_voice(voice)
    sentences = read_sentences(data, clips, loaded.sample_rate, gain)
    check_sound_names(out, [sentence.clip.id for sentence in sentences], overwrite)
    programs, absent = find_programs()
    others = {name: program_system(name, loaded.sample_rate) for name in programs}
    others |= read_systems(system or [], sentences, loaded.sample_rate)
    judges = load_judges()
    for sentence in [*judges.missing, *(f"left out: {n} is not installed" for n in absent)]:
        print_message(sentence)
    shown: dict[str, dict[str, Tensor]] = {}
    write_sound = make_sound_writer(out, loaded.sample_rate, overwrite, shown)
    with ProgressBar("sentences", len(sentences)) as progress_bar:
        sounds = evaluate_speech(
            loaded, sentences, judges, range(seeds), speaker, others, write_sound, progress_bar
        )
    settings = {"gain": gain, "seeds": seeds, "sentences": len(sentences), "speaker": speaker}
    report = make_report(voice, loaded.name, settings, command_line(context), sounds)
    figures = {name: plot_mel_rows(one, loaded.sample_rate) for name, one in shown.items()}
    write_report(out, report, figures, overwrite)
    if json_:
        print_json(report)
        return
    print_table(report["systems"], report["speed"])


def make_report(
    voice: Path,
    name: str,
    settings: Mapping[str, Any],
    command: str,
    sounds: "Sequence[SoundMeasures]",
) -> dict[str, Any]:
    """Return the content of metrics.json.

    Args:
        voice: folder or name, as the user wrote it; name: of its config.
        settings, command: of the run.
        sounds: all measures.
    """
    from wavenet.checkpoint_folders import resolve_checkpoint
    from wavenet.evaluation.provenance import describe_voice_provenance
    from wavenet.evaluation.speech_evaluation import measure_speed, summarise_speech

    folder = resolve_checkpoint(voice)
    return {
        **describe_voice_provenance(name, folder, settings, command),
        "speed": {**measure_speed(sounds), "megabytes": measure_size(folder)},
        "systems": summarise_speech(sounds),
        "sounds": [vars(sound) for sound in sounds],
    }


def check_sound_names(out: Path | None, names: Sequence[str], overwrite: bool) -> None:
    """Check that the sounds and pictures can be written, by those of the recordings.

    Raises:
        ConfigError: a file exists, or the folder cannot be written.
    """
    from wavenet.evaluation.speech_systems import RECORDING

    paths = [f"{SOUNDS_FOLDER}/{RECORDING}_seed0/{name}.wav" for name in names]
    check_output_folder(out, [*paths, *(f"{name}.png" for name in names[:PICTURES])], overwrite)


def read_sentences(
    folder: Path, clips: str | None, sample_rate: int, gain_db: float
) -> "list[RecordedSentence]":
    """Read the test sentences, and print those that are left out.

    Args:
        folder: in the layout of LJSpeech.
        clips: a number, or a file of ids; None: all.
        sample_rate: Hz, of the recordings that are returned.
        gain_db: added; lowered if a recording would exceed full scale.
    Raises:
        ConfigError: the file of ids cannot be read.
        DataError: no sentences, or an unknown id.
    """
    from audio_utils import io
    from audio_utils.errors import AudioError
    from wavenet.evaluation.speech_systems import RecordedSentence
    from wavenet.speech.speech_corpus import list_clips

    corpus = list_clips(folder)
    sentences = []
    for clip in select_clips(corpus.clips, clips):
        try:
            waveform = io.read(folder / clip.audio, sample_rate).waveform
        except AudioError as error:
            print_message(f"left out: {error}")
            continue
        if not waveform.any():
            print_message(f"left out: {clip.id} is silent")
            continue
        gain = min(10 ** (gain_db / 20), 1 / float(waveform.abs().max()))
        sentences.append(RecordedSentence(clip, waveform * gain))
    if not sentences:
        raise DataError(f"none of the recordings of {folder} can be read")
    return sentences


def select_clips(clips: "Sequence[SpeechClip]", chosen: str | None) -> "list[SpeechClip]":
    """Return the clips of a number or of a file of ids; see `read_sentences`."""
    if chosen is None:
        return list(clips)
    if chosen.isdecimal():
        count = min(int(chosen), len(clips))
        if not count:
            raise ConfigError("--clips must be 1 or more, or a file with an id per line")
        return [clips[n * len(clips) // count] for n in range(count)]
    try:
        ids = Path(chosen).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"--clips {chosen} cannot be read; expected a number, or a text file with an id per "
            "line"
        ) from None
    by_id = {clip.id: clip for clip in clips}
    unknown = [name for name in ids if name not in by_id]
    if unknown or not ids:
        found = f"{unknown[0]!r}" if unknown else "no id"
        raise DataError(f"{chosen} has {found}; expected ids of the table metadata.csv")
    return [by_id[name] for name in dict.fromkeys(ids)]


def read_systems(
    texts: Sequence[str], sentences: "Sequence[RecordedSentence]", sample_rate: int
) -> "dict[str, OtherSystem]":
    """Return the systems of --system by name, after a check that no sound is missing.

    Raises:
        ConfigError: not NAME=FOLDER, or the name cannot be used.
        DataError: a sound is missing.
    """
    from wavenet.evaluation.speech_systems import (
        OWN_SYSTEMS,
        PROGRAMS,
        find_sound,
        folder_system,
    )

    systems = {}
    for name, folder in parse_assignments("--system", texts, "other=sounds/other").items():
        if name in (*OWN_SYSTEMS, *PROGRAMS) or not re.fullmatch(r"[\w.-]{1,40}", name):
            raise ConfigError(
                f"--system {name}=..: expected another name, of letters, digits, dots, hyphens "
                f"and underscores; {', '.join((*OWN_SYSTEMS, *PROGRAMS))} are taken"
            )
        for sentence in sentences:
            find_sound(name, Path(folder), sentence.clip.id)
        systems[name] = folder_system(name, Path(folder), sample_rate)
    return systems


def make_sound_writer(
    out: Path | None, sample_rate: int, overwrite: bool, shown: "dict[str, dict[str, Tensor]]"
) -> "Callable[[RecordedSentence, SystemSound], None]":
    """Return a function that writes each sound, and adds those of the first sentences to `shown`.

    Args:
        out: folder; None: nothing is written or added.
        shown: waveforms by sentence and system, to draw.
    """

    def write_sound(sentence: "RecordedSentence", sound: "SystemSound") -> None:
        from audio_utils import io

        if out is None:
            return
        name = sentence.clip.id
        folder = out / SOUNDS_FOLDER / f"{sound.system}_seed{sound.seed}"
        create_folder(folder)
        io.write(folder / f"{name}.wav", sound.waveform, sample_rate, replace=overwrite)
        if name in shown or len(shown) < PICTURES:
            # the first seed of each system
            shown.setdefault(name, {}).setdefault(sound.system, sound.waveform)

    return write_sound


def measure_size(folder: Path) -> float:
    """Return the size of the files of a voice, MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def print_table(rows: Sequence[Mapping[str, Any]], speed: Mapping[str, float]) -> None:
    """Print a row per system, and the speed of the voice.

    A dash stands where a measure is undefined or its judge is missing.
    """
    heads = " ".join(f"{head:>{width}}" for head, _, width, _ in COLUMNS[1:])
    first, _, width, _ = COLUMNS[0]
    print_line(f"{'system':17} {'sounds':>6} {first:>{width}} {'95 % interval':>13} {heads}")
    for row in rows:
        cells = [format_cell(row[key], width, how) for _, key, width, how in COLUMNS]
        bounds = row["word_error_rate_interval"]
        interval = "-" if bounds is None else f"{100 * bounds[0]:.1f} - {100 * bounds[1]:.1f}"
        cells.insert(1, f"{interval:>13}")
        print_line(f"{row['system']:17} {row['sounds']:6} {' '.join(cells)}")
    print_line(
        f"voice: {speed['megabytes']:.1f} MB, {speed['times_real_time']:.2f} times real time, "
        f"{speed['first_sound_seconds']:.2f} s to the first sound"
    )


def format_cell(value: float | None, width: int, how: str) -> str:
    """Return a value of a fixed width; `how` is a format, with * for a percentage."""
    if value is None:
        return f"{'-':>{width}}"
    scale = 100 if how.startswith("*") else 1
    return f"{scale * value:{width}{how.removeprefix('*')}}"
