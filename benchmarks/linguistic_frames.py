"""Compare two ways from phones to sound: a WaveNet of linguistic frames, and a vocoder.

    python benchmarks/linguistic_frames.py prepare FOLDER --voice VOICE --out CORPUS
    wavenet train CORPUS/recipe.toml --data CORPUS --out RUN
    python benchmarks/linguistic_frames.py speak VOICE RUN/checkpoint SENTENCES.csv --out SOUNDS

The first way is that of van den Oord et al. 2016 ("WaveNet", section 3.2): for each frame the
WaveNet reads the phone, its neighbours, its stress, the place in it, F0 and energy. `prepare`
writes these frames beside the recordings of an aligned folder (`wavenet data align`), with F0 and
energy measured per phone. `speak` takes durations, F0 and energy of new sentences from the acoustic
model of a voice, so both ways have the same prosody, and only the way to the sound differs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from audio_utils import io
from wavenet import checkpoint
from wavenet.errors import DataError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.speech.acoustic_model import AcousticConfig, repeat_tokens
from wavenet.speech.alignment_file import FILE_NAME, read_alignment
from wavenet.speech.spoken_examples import LONGEST_START, make_example
from wavenet.speech.text_to_phones import text_to_phones
from wavenet.speech.tokens import N_STRESSES, SYMBOLS, encode_tokens
from wavenet.speech.voice import SentencePlan
from wavenet.speech.voice_folder import load_voice

NAME = "linguistic"
RECIPE = Path(__file__).with_name("linguistic_frames.toml")


def linguistic_frames(
    tokens: Tensor, durations: Tensor, f0: Tensor, energy: Tensor, speaker: int, speakers: int
) -> Tensor:
    """Return frames (F, columns) float32, about -1 to 1.

    The columns: the symbol of the token, of the one before and of the one after (one-hot), stress
    (one-hot), whether the token begins and ends a word, the place in the token, F0, energy, and the
    speaker (one-hot).

    Args:
        tokens: (N, 4) of `encode_tokens`.
        durations: (N,) int64 frames.
        f0, energy: (N,), F0 in standard deviations of the speaker.
        speaker: index of `speakers`.
    """
    symbols = one_hot(tokens[:, 0], len(SYMBOLS)).float()
    outside = torch.zeros(1, len(SYMBOLS))
    per_token = torch.cat(
        [
            symbols,
            torch.cat([outside, symbols[:-1]]),
            torch.cat([symbols[1:], outside]),
            one_hot(tokens[:, 1], N_STRESSES).float(),
            tokens[:, 2:].float(),
        ],
        1,
    )
    repeated, places = repeat_tokens(per_token[None], durations[None])
    frames = repeated.shape[1]
    curves = torch.stack([_interpolate(v, durations, frames) for v in (f0 / 3, energy)], 1)
    who = one_hot(torch.tensor(speaker), speakers).float().expand(frames, -1)
    return torch.cat([repeated[0], places[0], curves, who], 1)


def _interpolate(values: Tensor, durations: Tensor, frames: int) -> Tensor:
    """Return a curve (frames,) through the values of tokens, each at the centre of its token."""
    centres = durations.cumsum(0) - durations / 2
    present = durations > 0
    places = np.arange(frames) + 0.5
    curve = np.interp(places, centres[present].numpy(), values[present].numpy())
    return torch.from_numpy(curve).float()


def prepare(folder: Path, config: AcousticConfig, out: Path) -> None:
    """Write the spoken parts of the recordings of an aligned folder, each with its frames."""
    out.mkdir(parents=True, exist_ok=True)
    rate, fps = config.sample_rate, config.frames_per_second
    columns = 0
    for clip in read_alignment(folder / FILE_NAME):
        speaker = speaker_of(clip.id, config.speakers)
        waveform = io.read(folder / clip.audio, rate).waveform
        sentences = list(text_to_phones(clip.text))
        try:
            example = make_example(config, clip.id, speaker, waveform, sentences, clip.times)
        except DataError as error:
            print(f"{clip.id} is left out: {error}")
            continue
        first = max(0, round(clip.times[0][0][0] * fps) - round(LONGEST_START * fps))
        count = len(example.frames)
        start, end = first * config.hop, (first + count - 1) * config.hop + 1
        f0 = (example.f0 - config.f0_mean[speaker]) / config.f0_deviation[speaker]
        frames = linguistic_frames(
            example.tokens, example.durations, f0, example.energy, speaker, len(config.speakers)
        )
        columns = frames.shape[1]
        io.write(out / f"{clip.id}.flac", waveform[start:end], rate)
        np.save(out / f"{clip.id}.{NAME}.npy", frames.numpy())
    recipe = RECIPE.read_text(encoding="utf-8").replace("COLUMNS", str(columns))
    (out / "recipe.toml").write_text(recipe, encoding="utf-8")


def speaker_of(clip: str, speakers: Sequence[str]) -> int:
    """Return the speaker whose name begins the name of a clip; the first one if there is none."""
    return next((n for n, name in enumerate(speakers) if clip.startswith(name)), 0)


def frames_of_plan(plan: SentencePlan, config: AcousticConfig, speaker: int) -> Tensor:
    """Return the linguistic frames of a sentence with the prosody of its plan."""
    tokens = encode_tokens(spoken.token for spoken in plan.tokens)
    durations = torch.tensor([spoken.frames for spoken in plan.tokens])
    hertz = torch.tensor([spoken.f0 for spoken in plan.tokens])
    f0 = (hertz.log() - config.f0_mean[speaker]) / config.f0_deviation[speaker]
    energy = torch.tensor([spoken.energy for spoken in plan.tokens])
    return linguistic_frames(tokens, durations, f0, energy, speaker, len(config.speakers))


def speak(voice_folder: Path, model: Path, sentences: Path, out: Path, seed: int) -> None:
    """Write a file per line `id|text`, at the temperature of the vocoder of the voice."""
    voice, wavenet = load_voice(voice_folder), checkpoint.load(model)
    sampling = voice.vocoder.config.sampling
    config = voice.acoustic.config
    out.mkdir(parents=True, exist_ok=True)
    for line in sentences.read_text(encoding="utf-8").splitlines():
        name, text = line.split("|")[0], line.split("|")[-1]
        parts = []
        for plan in voice.plan(text):
            frames = frames_of_plan(plan, config, 0)
            samples = (len(frames) - 1) * config.hop
            request = GenerationRequest(samples, seed=seed, frame_features=frames)
            parts += [chunk.waveforms[0] for chunk in generate(wavenet, [request], sampling)]
        sound = torch.cat(parts).numpy()
        soundfile.write(out / f"{name}.wav", sound, config.sample_rate)
        print(f"{name}: {len(sound) / config.sample_rate:.1f} s")


def main() -> None:
    """Prepare a corpus, or speak sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("folder", type=Path, help="an aligned folder")
    first.add_argument("--voice", type=Path, required=True, help="for its settings and speakers")
    first.add_argument("--out", type=Path, required=True, help="new folder")
    second = commands.add_parser("speak")
    second.add_argument("voice", type=Path, help="that of prepare, with its speakers")
    second.add_argument("model", type=Path, help="checkpoint of the WaveNet of linguistic frames")
    second.add_argument("sentences", type=Path, help="lines id|text")
    second.add_argument("--out", type=Path, required=True, help="folder of the sounds")
    second.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.command == "prepare":
        prepare(options.folder, load_voice(options.voice).acoustic.config, options.out)
    else:
        speak(options.voice, options.model, options.sentences, options.out, options.seed)


if __name__ == "__main__":
    main()
