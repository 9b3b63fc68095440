"""A loaded model: generate, stream, continue, resynthesise, speak and score from Python.

Input: the name of a checkpoint, then condition values and settings as Python values. Output: clips
and scores. Called by Python programs and notebooks through `wavenet.load`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio_utils.levels import Channel
from wavenet import checkpoint as checkpoints
from wavenet.cache_folders import use_writable_caches
from wavenet.checkpoint import Checkpoint
from wavenet.checkpoint_folders import is_voice, list_known
from wavenet.detection.events import DEFAULT_FALSE_ALARMS, Event, find_events
from wavenet.detection.most_probable import LabelProbability, label_probabilities
from wavenet.engines.engine import Engine
from wavenet.engines.registry import device_for
from wavenet.errors import ConditionError, ConfigError
from wavenet.generation.batch_size import default_batch_size
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.generation.clip_mel_matching import choose_iterations, match_clip_mel
from wavenet.generation.generate import DEFAULT_GUARD, generate, generate_many
from wavenet.generation.request import GenerationRequest, choose_samples
from wavenet.interface.argument_checks import (
    check_count,
    check_flags,
    check_mapping,
    check_path,
    check_pronunciation_types,
    check_rate,
    check_seconds,
    check_text,
    choose_seed,
    list_rows,
    read_frames,
    resolve_values,
)
from wavenet.interface.audio_clip import AudioClip, make_clip, make_spoken_clip
from wavenet.interface.audio_input import AudioInput, read_input
from wavenet.likelihood.score import Score, score
from wavenet.model.condition_values import describe_conditions
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig, resolve_sampling, rows_per_clip
from wavenet.sharing.hub import find_or_pull
from wavenet.speech.voice import SpeakingStyle, Voice
from wavenet.speech.voice_folder import load_voice

Frames = str | os.PathLike[str] | NDArray[Any] | torch.Tensor


def load(
    name: str | os.PathLike[str] = "digits",
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    revision: str | None = None,
) -> "Model":
    """Load a model.

    Args:
        name: a shipped model (`list_models`), the folder of a checkpoint or of a voice, or
            OWNER/NAME of the Hugging Face Hub, which is downloaded once into the user's folder of
            checkpoints. Of a voice, the model is its vocoder, which can also `speak`.
        engine: "auto", "cpu", "gpu", "graph", "cached" or "reference".
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the weights: "auto", "fp32", "bf16" or "int8".
        threads: of the engine cpu, 1 or 2; None: measured.
        revision: branch, tag or commit of a model of the Hub.
    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        HubError: the Hub cannot be reached or refuses.
        EngineUnavailable: the engine is not available here or does not support the model.
    """
    use_writable_caches()
    check_count("threads", threads, 1)
    folder = find_or_pull(check_path("the name of a model", name), revision)
    chosen = device_for(engine, device)
    voice = load_voice(folder, device=chosen) if is_voice(folder) else None
    loaded = checkpoints.load(folder, chosen) if voice is None else voice.vocoder
    return Model(loaded, make_checkpoint_engine(engine, loaded, precision, threads), voice)


def list_models() -> dict[str, Path]:
    """Return the folders of all models that `load` finds by name, by name."""
    return list_known()


class Model:
    """A model that is ready to run; made by `load`.

    Condition values are keyword arguments, as in `model.generate(digit=7)`; those whose name is
    also that of another argument are given in the mapping `conditions`.

    Attributes:
        checkpoint: config, weights and folder.
        engine: generates the samples.
        voice: speaks text, with this model as its vocoder; None for a model that is not a voice.
    """

    def __init__(self, checkpoint: Checkpoint, engine: Engine[Any], voice: Voice | None = None):
        self.checkpoint = checkpoint
        self.engine = engine
        self.voice = voice

    @property
    def name(self) -> str:
        """Name in the config of the checkpoint, or of the voice."""
        return self.checkpoint.config.name if self.voice is None else self.voice.name

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speakers of a voice; empty for a model that is not a voice."""
        return () if self.voice is None else self.voice.acoustic.config.speakers

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.checkpoint.sample_rate

    @property
    def conditions(self) -> dict[str, Any]:
        """By name: the values of a label, the range of a number, or the shape of frames."""
        return describe_conditions(self.checkpoint.config.model)

    @property
    def receptive_field(self) -> int | None:
        """Number of past samples that a prediction depends on; None: all."""
        return self.checkpoint.model.receptive_field

    def __repr__(self) -> str:
        names = ", ".join(self.conditions) or "no conditions"
        return f"<Model {self.name}: {self.sample_rate} Hz, {names}; engine {self.engine.name}>"

    def generate(
        self,
        *,
        seconds: float | None = None,
        seed: int | None = 0,
        prompt: AudioInput | None = None,
        keep_prompt: bool = True,
        sample_rate: int | None = None,
        frames: Mapping[str, Frames] | None = None,
        frames_scale: str | None = None,
        conditions: Mapping[str, ConditionValue] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        guidance: float | None = None,
        guard: bool = True,
        **values: ConditionValue | int,
    ) -> AudioClip:
        """Generate a clip.

        Args:
            seconds: length, 0.001 to 600; None: that of the frames, otherwise the default of the
                model.
            seed: 0 to 2**63 - 1; None: a random one, which the clip states.
            prompt: audio to continue.
            keep_prompt: whether the clip begins with the prompt.
            sample_rate: of a prompt that is an array, Hz; None: that of the model.
            frames: of local conditions, (F, columns) or `.npy` files by name.
            frames_scale: of the frames; None: dB, which is checked.
            conditions, values: the condition values, by name.
            temperature, top_k, top_p, greedy, guidance: how a code is drawn; None: the default of
                the model.
            guard: whether a window of only noise or silence is drawn again.
        Raises:
            ConditionError: a value, a length or a prompt is invalid.
            AudioError: the prompt cannot be read.
        """
        request = self._make_request(
            conditions,
            values,
            seconds=seconds,
            seed=seed,
            prompt=prompt,
            keep_prompt=keep_prompt,
            sample_rate=sample_rate,
            frames=frames,
            frames_scale=frames_scale,
        )
        check_flags(guard=guard)
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, guidance)
        (clip,) = generate_many(
            self.checkpoint, [request], sampling, self.engine, DEFAULT_GUARD if guard else None
        )
        return make_clip(self.checkpoint, request, clip, keep_prompt)

    def generate_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        guidance: float | None = None,
        guard: bool = True,
    ) -> list[AudioClip]:
        """Generate many clips side by side, which is several times as fast as one by one.

        Each clip is the same as from `generate`.

        Args:
            rows: for each clip the arguments of `generate` except those listed here, such as
                `{"digit": 7, "seed": 3}`.
            temperature, top_k, top_p, greedy, guidance, guard: as in `generate`, for all clips.
        Returns:
            The clips in the order of the rows.
        Raises:
            ConditionError, AudioError: as in `generate`, before the first clip is generated.
        """
        requests, kept = [], []
        check_flags(guard=guard)
        for row in list_rows(rows):
            kept.append(bool(row.get("keep_prompt", True)))
            requests.append(self._row_request(row))
        if not requests:
            return []
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, guidance)
        together = default_batch_size(self.checkpoint, self.engine, rows_per_clip(sampling))
        found = generate_many(
            self.checkpoint,
            requests,
            sampling,
            self.engine,
            DEFAULT_GUARD if guard else None,
            max_active=together,
        )
        by_index = {clip.index: clip for clip in found}
        return [
            make_clip(self.checkpoint, request, by_index[n], kept[n])
            for n, request in enumerate(requests)
        ]

    def stream(
        self,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        guidance: float | None = None,
        guard: bool = True,
        chunk_seconds: float | None = None,
        **settings: Any,
    ) -> Iterator[NDArray[np.float32]]:
        """Generate a clip and yield its samples while it is generated, without the prompt.

        All arguments are checked before this function returns. Closing the iterator stops the work.

        Args:
            temperature, top_k, top_p, greedy, guidance, guard: as in `generate`.
            chunk_seconds: longest chunk; None: 0.1 s. It has no effect on the audio.
            settings: the other arguments of `generate`, condition values included.
        Yields:
            (n,) float32, the next samples.
        Raises:
            ConditionError, AudioError: as in `generate`.
        """
        check_flags(guard=guard)
        check_seconds("chunk_seconds", chunk_seconds)
        request = self._row_request(settings)
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, guidance)
        longest = None if chunk_seconds is None else max(1, round(chunk_seconds * self.sample_rate))
        chunks = generate(
            self.checkpoint,
            [request],
            sampling,
            self.engine,
            longest,
            DEFAULT_GUARD if guard else None,
        )
        return (chunk.waveforms[0].cpu().numpy() for chunk in chunks)

    def continue_(
        self, prompt: AudioInput, seconds: float | None = None, **settings: Any
    ) -> AudioClip:
        """Continue a recording; the clip begins with it.

        Args:
            prompt: a file, an array at `sample_rate`, or a clip.
            seconds: length of the continuation; None: the default of the model.
            settings: the other arguments of `generate`.
        Raises:
            ConditionError, AudioError: as in `generate`.
        """
        if prompt is None:
            raise ConditionError("there is no prompt to continue; use generate without one")
        return self.generate(prompt=prompt, seconds=seconds, **settings)

    def vocode(
        self,
        recording: AudioInput,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        normalize: bool = False,
        seed: int | None = 0,
        mel_matching_iterations: int | None = None,
        conditions: Mapping[str, ConditionValue] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        guidance: float | None = None,
        guard: bool = True,
        **values: ConditionValue | int,
    ) -> AudioClip:
        """Resynthesise a recording from its frames, such as mel; the model has local conditions.

        Args:
            recording: a file, an array or a clip.
            sample_rate: of an array, Hz; None: that of the model.
            channel, normalize: how a file is read, as in `audio_utils.io.read`.
            mel_matching_iterations: passes of the filter that moves the mel frames of the clip
                towards those of the recording; None: the default; 0: none.
            seed, conditions, temperature, top_k, top_p, greedy, guidance, guard, values: as in
                `generate`.
        Raises:
            ConditionError: the model has no local conditions, or a value is invalid.
            AudioError: the recording cannot be read.
        """
        loaded = self.checkpoint
        config = loaded.config.model
        if not config.locals:
            raise ConditionError(
                f"{self.name} is not conditioned on frames; use a vocoder, such as "
                "wavenet.load('vocoder')"
            )
        check_flags(guard=guard)
        check_count("mel_matching_iterations", mel_matching_iterations, 0)
        iterations = choose_iterations(loaded, mel_matching_iterations)
        waveform = read_input(recording, self.sample_rate, sample_rate, channel, normalize)
        frame_features = compute_frame_features(config, self.sample_rate, waveform)
        chosen = resolve_values(self.checkpoint.config.model, conditions, values)
        request = GenerationRequest(
            waveform.numel(), chosen, choose_seed(seed), frame_features=frame_features
        )
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, guidance)
        (clip,) = generate_many(
            loaded, [request], sampling, self.engine, DEFAULT_GUARD if guard else None
        )
        matched = None
        if iterations:
            matched = match_clip_mel(loaded, clip.waveform.cpu(), frame_features, iterations)
            matched = matched.clamp(-1, 1)
        return make_clip(loaded, request, clip, waveform=matched)

    def speak(
        self,
        text: str | Iterable[str],
        *,
        speaker: str | None = None,
        speed: float = 1.0,
        pitch: float = 0.0,
        loudness: float = 0.0,
        melody: float = 1.0,
        pronunciations: Mapping[str, str | Sequence[str]] | None = None,
        seed: int | None = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        guard: bool = True,
    ) -> AudioClip:
        """Speak an English text; the model is a voice.

        The clip has the sentences with the times of their words and phones (`clip.sentences`), and
        what was left out of the text (`clip.notices`). It is the same as from `wavenet speak`.

        Args:
            text: the text, or its parts in order.
            speaker: one of `speakers`; None: the first.
            speed: factor, 0.25 to 4; 2 is twice as fast.
            pitch: semitones, -12 to 12.
            loudness: dB, -12 to 12.
            melody: factor of the movement of the pitch, 0 to 3; 0 is monotonous.
            pronunciations: words and their phones, such as {"GIF": "JH IH1 F"}.
            seed, temperature, top_k, top_p, greedy, guard: as in `generate`.
        Raises:
            ConditionError: the model is not a voice, an argument is invalid, or the text has no
                words that can be read.
        """
        voice = self._voice_with(pronunciations)
        notices: list[str] = []
        style = SpeakingStyle(speed, pitch, loudness, melody)
        check_flags(guard=guard)
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, None)
        chosen = choose_seed(seed)
        plans = list(voice.plan(check_text(text), style, speaker, notices.append))
        if not plans:
            raise ConditionError("the text has no words that can be read")
        requests = [voice.make_request(plan, chosen) for plan in plans]
        clips = generate_many(
            self.checkpoint,
            requests,
            sampling,
            self.engine,
            DEFAULT_GUARD if guard else None,
            max_active=default_batch_size(self.checkpoint, self.engine, rows_per_clip(sampling)),
        )
        in_order = sorted(clips, key=lambda clip: clip.index)
        parts = list(zip(requests, in_order, strict=True))
        return make_spoken_clip(voice, parts, plans, notices)

    def stream_speech(
        self,
        text: str | Iterable[str],
        *,
        speaker: str | None = None,
        speed: float = 1.0,
        pitch: float = 0.0,
        loudness: float = 0.0,
        melody: float = 1.0,
        pronunciations: Mapping[str, str | Sequence[str]] | None = None,
        seed: int | None = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Speak a text and yield its samples while it is generated; the same samples as `speak`.

        The text may have any length, and its parts may come while it is spoken: a sentence is
        spoken when the 100 characters behind it are known. All arguments but the text are checked
        before this function returns. Closing the iterator stops the work.

        Args:
            text: as in `speak`; so are all other arguments.
        Yields:
            (n,) float32, the next samples.
        Raises:
            ConditionError: as in `speak`, but a text without words yields nothing.
        """
        voice = self._voice_with(pronunciations)
        style = SpeakingStyle(speed, pitch, loudness, melody)
        sampling = self._resolve_sampling(temperature, top_k, top_p, greedy, None)
        chosen = choose_seed(seed)
        plans = voice.plan(check_text(text), style, speaker)
        return (
            chunk.cpu().numpy()
            for plan in plans
            for chunk in voice.speak_sentence(plan, chosen, sampling, self.engine)
        )

    def _voice_with(self, pronunciations: Mapping[str, str | Sequence[str]] | None) -> Voice:
        """Return the voice with the pronunciations of the user."""
        if self.voice is None:
            raise ConditionError(
                f"{self.name} is not a voice; use a voice, such as wavenet.load('kathleen')"
            )
        return replace(self.voice, pronunciations=check_pronunciation_types(pronunciations))

    def score(
        self,
        recording: AudioInput,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        normalize: bool = False,
        conditions: Mapping[str, ConditionValue] | None = None,
        **values: ConditionValue | int,
    ) -> Score:
        """Compute how likely a recording is: `bits_per_sample`, and `surprise` of every sample.

        Args:
            recording: a file, an array or a clip.
            sample_rate, channel, normalize: as in `vocode`.
            conditions, values: the condition values, by name.
        Raises:
            ConditionError: a condition value is missing or unknown.
            AudioError: the recording cannot be read.
        """
        waveform = read_input(recording, self.sample_rate, sample_rate, channel, normalize)
        chosen = resolve_values(self.checkpoint.config.model, conditions, values)
        return score(self.checkpoint, waveform, chosen)

    def surprise(
        self,
        recording: AudioInput,
        *,
        false_alarms_per_hour: float = DEFAULT_FALSE_ALARMS,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        normalize: bool = False,
        conditions: Mapping[str, ConditionValue] | None = None,
        **values: ConditionValue | int,
    ) -> list[Event]:
        """Find the improbable places of a recording: clicks, dropouts, splices, foreign sounds.

        Args:
            false_alarms_per_hour: accepted number of events per hour of clean sound.
            recording, sample_rate, channel, normalize, conditions, values: as in `score`.
        Raises:
            CheckpointError: the model has no calibration; see `wavenet surprise --calibrate`.
            ConfigError, ConditionError, AudioError: a value is invalid, or as in `score`.
        """
        check_rate(false_alarms_per_hour)
        waveform = read_input(recording, self.sample_rate, sample_rate, channel, normalize)
        chosen = resolve_values(self.checkpoint.config.model, conditions, values)
        return find_events(self.checkpoint, waveform, false_alarms_per_hour, chosen)

    def which(
        self,
        recording: AudioInput,
        *labels: str,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        normalize: bool = False,
        conditions: Mapping[str, ConditionValue] | None = None,
        **values: ConditionValue | int,
    ) -> list[LabelProbability]:
        """Compute how probable the values of labels are, by Bayes' rule; the most probable first.

        Args:
            labels: names of one label or more, of which all combinations are compared.
            recording, sample_rate, channel, normalize, conditions, values: as in `score`.
        Raises:
            ConditionError, AudioError: the model has no such label, or as in `score`.
        """
        waveform = read_input(recording, self.sample_rate, sample_rate, channel, normalize)
        chosen = resolve_values(self.checkpoint.config.model, conditions, values)
        return label_probabilities(self.checkpoint, waveform, labels, chosen)

    def _row_request(self, row: Mapping[str, Any]) -> GenerationRequest:
        """Build the request of a row: the arguments of `generate`, condition values included."""
        names = ["seconds", "seed", "prompt", "keep_prompt"]
        names += ["sample_rate", "frames", "frames_scale"]
        settings = {name: row[name] for name in names if name in row}
        others = {*names, "conditions"}
        values = {name: value for name, value in row.items() if name not in others}
        return self._make_request(row.get("conditions"), values, **settings)

    def _make_request(
        self,
        conditions: Mapping[str, ConditionValue] | None,
        values: Mapping[str, Any],
        *,
        seconds: float | None = None,
        seed: int | None = 0,
        prompt: AudioInput | None = None,
        keep_prompt: bool = True,
        sample_rate: int | None = None,
        frames: Mapping[str, Frames] | None = None,
        frames_scale: str | None = None,
    ) -> GenerationRequest:
        config, rate = self.checkpoint.config, self.sample_rate
        check_seconds("seconds", seconds)
        check_flags(keep_prompt=keep_prompt)
        if prompt is None and (sample_rate is not None or not keep_prompt):
            raise ConditionError("sample_rate and keep_prompt are for a prompt; omit them")
        chosen = resolve_values(self.checkpoint.config.model, conditions, values)
        waveform = None if prompt is None else read_input(prompt, rate, sample_rate)
        given = check_mapping("frames", frames, "{'mel': array}")
        arrays = {name: read_frames(name, found) for name, found in given.items()}
        frame_features = compute_frame_features(
            config.model, rate, None, arrays, frames_scale, config.frame_statistics
        )
        found = frame_features if frame_features.numel() else None
        samples = choose_samples(self.checkpoint, seconds, waveform, found)
        return GenerationRequest(
            samples, chosen, choose_seed(seed), prompt=waveform, frame_features=found
        )

    def _resolve_sampling(
        self,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        greedy: bool | None,
        guidance: float | None,
    ) -> SamplingConfig:
        if greedy and any(value is not None for value in (temperature, top_k, top_p)):
            raise ConfigError(
                "temperature, top_k and top_p have no effect with greedy, which selects the most "
                "likely code; omit them"
            )
        return resolve_sampling(
            self.checkpoint.config.sampling,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            greedy=greedy,
            guidance=guidance,
        )
