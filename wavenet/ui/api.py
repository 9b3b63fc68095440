"""The one public function: a clip as a file, for programs ("Use via API" in the footer).

Values from anywhere enter, of any type; a WAV file leaves, or one sentence.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from audio_utils import io
from wavenet.errors import ConditionError
from wavenet.parsing import make
from wavenet.ui import jobs


def make_api(root: Path) -> Callable[..., dict[str, Any]]:
    """Make the function `generate` for a folder of checkpoints."""

    def generate(
        checkpoint: str = "digits",
        labels: dict[str, str] | None = None,
        seconds: float = 1.0,
        seed: int = -1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> dict[str, Any]:
        """Generate one clip with a WaveNet and return it as a lossless WAV file.

        Args:
            checkpoint: name of the checkpoint.
            labels: one for each of its label sets, such as {"digit": "7", "speaker": "jackson"}.
            seconds: length, above 0, at most 30.
            seed: the same seed gives the same audio; -1 draws one, which the file's name tells.
            temperature: above 0; below 1 is calmer.
            top_k: draw from the k likeliest codes; 0 is off.
            top_p: draw from the likeliest codes that hold this share; 1 is off.
        Returns:
            The WAV file.
        """
        with jobs.shown_errors(), tempfile.TemporaryDirectory() as folder:
            wish = make(
                jobs.Wish,
                "settings",
                seconds=seconds,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                labels=labels or {},
            )
            if not isinstance(checkpoint, str):
                raise ConditionError(f"checkpoint must be a name, found {checkpoint!r}")
            job = jobs.make_job(jobs.load_named(root, checkpoint), wish)
            path = Path(folder) / job.file_name
            io.write(path, torch.cat(list(job.waveforms())), job.rate)
            # Into the folder that the app serves: another path would be text to the client.
            return gr.FileData(path=save_file_to_cache(path, get_upload_folder())).model_dump()

    return generate
