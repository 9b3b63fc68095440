"""Pictures of aligned clips: options of `wavenet data align`, choice of the clips, files.

Input: the options --plot and --plots, and the aligned clips. Output: one PNG per clip: its mel
spectrogram with the boundaries of phones, and phones and words as labels. Called by
`data_align_command.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wavenet.cli.options import create_folder, parse_assignments
from wavenet.cli.output_paths import check_output_folder, check_outputs
from wavenet.errors import ConditionError, ConfigError

if TYPE_CHECKING:
    from wavenet.speech.alignment_file import AlignedClip

DEFAULT_COUNT = 10


@dataclass(frozen=True)
class PicturePlan:
    """The pictures that the user wants.

    Attributes:
        files: by id of the clip.
        folder: of the pictures of chosen clips; None for none.
        count: number of chosen clips.
        overwrite: whether files may be replaced.
    """

    files: dict[str, Path]
    folder: Path | None
    count: int
    overwrite: bool


def plan_pictures(
    corpus: Path,
    assignments: Sequence[str] | None,
    folder: Path | None,
    count: int | None,
    overwrite: bool,
) -> PicturePlan:
    """Return the plan, after checking that the clips exist and that the files can be written.

    Args:
        corpus: the folder with metadata.csv; read only if there is something to draw.
        assignments, folder, count: the values of --plot, --plots and --plot-count.
    Raises:
        ConditionError: no clip has this id.
        ConfigError: a file cannot be written, or --plot-count has no effect.
    """
    from wavenet.speech.speech_corpus import METADATA, list_clips

    files = {k: Path(v) for k, v in parse_assignments("--plot", assignments, "ID=FILE.png").items()}
    if count is not None and folder is None:
        raise ConfigError("--plot-count is for the pictures of --plots; add --plots FOLDER")
    check_outputs(files.values(), overwrite, "--plot")
    ids = [clip.id for clip in list_clips(corpus).clips] if files or folder is not None else []
    for name in files:
        if name not in ids:
            raise ConditionError(
                f"--plot {name!r}: no clip has this id; the ids are in {corpus / METADATA}"
            )
    # any clip may be chosen
    check_output_folder(folder, [_picture_name(name) for name in ids], overwrite, "--plots")
    return PicturePlan(files, folder, DEFAULT_COUNT if count is None else count, overwrite)


def choose_clips(clips: Sequence["AlignedClip"], count: int) -> list["AlignedClip"]:
    """Return the clips to look at, in this order: the lowest scores, then the first of the table.

    Half of them, or one more than the others, have the lowest scores.
    """
    lowest = sorted(clips, key=lambda clip: clip.score)[: (count + 1) // 2]
    chosen = {clip.id for clip in lowest}
    others = [clip for clip in clips if clip.id not in chosen]
    return lowest + others[: count - len(lowest)]


def draw_pictures(
    corpus: Path, clips: Sequence["AlignedClip"], plan: PicturePlan
) -> dict[str, Path]:
    """Write the pictures, and return their paths by id; a clip of --plot is not drawn twice.

    Raises:
        ConditionError: a clip of --plot could not be aligned.
        AudioError: a recording cannot be read, or a picture cannot be written.
    """
    by_id = {clip.id: clip for clip in clips}
    pictures = dict(plan.files)
    if plan.folder is not None:
        for clip in choose_clips(clips, plan.count):
            pictures.setdefault(clip.id, plan.folder / _picture_name(clip.id))
    for name, path in pictures.items():
        if name not in by_id:
            raise ConditionError(f"--plot {name!r}: this clip could not be aligned; choose another")
        _draw_clip(corpus, by_id[name], path, plan.overwrite)
    return pictures


def _picture_name(name: str) -> str:
    """Return the name of the picture of a clip; an id has no folder."""
    return f"{name}.png"


def _draw_clip(corpus: Path, clip: "AlignedClip", path: Path, overwrite: bool) -> None:
    from audio_utils import io, plots
    from wavenet.speech.forced_alignment import SAMPLE_RATE

    waveform = io.read(corpus / clip.audio, SAMPLE_RATE).waveform
    phones = [phone for word in clip.words for phone in word.phones]
    words = [(word.read or word.written, word.start, word.end) for word in clip.words]
    create_folder(path.parent)
    plots.save_figure(plots.plot_segments(waveform, SAMPLE_RATE, phones, words), path, overwrite)
