# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First steps with WaveNet Studio
#
# Generate speech sample by sample, look at it, measure how likely it is, and train a model of your
# own in a minute. Everything runs on a CPU.
#
# On your machine, install WaveNet Studio first (see the README), and start Jupyter in its
# environment. In Colab, upload the file `wavenet_studio-0.1.0-py3-none-any.whl` that `make wheel`
# writes, and run this in a cell: `%pip install wavenet_studio-*.whl`

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display

import wavenet

# %% [markdown]
# ## Load a model and listen
#
# `digits` says the digits 0 to 9 in six voices. A clip is shown as a player.

# %%
model = wavenet.load("digits")
model

# %%
model.conditions

# %%
seven = model.generate(digit=7, speaker="theo", seconds=0.5, seed=1)
seven

# %% [markdown]
# The same seed gives the same clip, another seed another one. Three voices at once:

# %%
voices = ["george", "nicolas", "yweweler"]
clips = model.generate_many([{"digit": 7, "speaker": voice, "seed": 1} for voice in voices])
for clip in clips:
    display(clip)

# %% [markdown]
# A sample is a number in [-1, 1], and there are 8,000 of them in a second. `clip.waveform` is a
# numpy array, and `clip.save("seven.wav")` writes a file.

# %%
seven.waveform[:5], seven.sample_rate, seven.seconds

# %% [markdown]
# ## Spectrogram and MFCC
#
# A spectrogram shows the level of every frequency over time. MFCCs describe its shape with a few
# numbers per frame; classifiers of speech use them.

# %%
from audio_utils import plots

waveform = torch.from_numpy(seven.waveform)
plots.plot_waveform(waveform, seven.sample_rate)

# %%
plots.plot_spectrogram(waveform, seven.sample_rate)

# %%
plots.plot_mfcc(waveform, seven.sample_rate)

# %% [markdown]
# ## The receptive field
#
# Of the past samples, a prediction depends on those of one *receptive field* and on no others. It
# also depends on the conditions (here digit and speaker) and, in this model, on the position in the
# clip. The receptive field is 1 plus the sum of (kernel size - 1) times the dilation of each layer.

# %%
config = model.checkpoint.config.model
expected = 1 + (config.kernel_size - 1) * sum(config.dilations)
print(config.dilations)
print(expected, "samples =", round(1000 * expected / model.sample_rate, 1), "ms")
assert expected == model.receptive_field

# %% [markdown]
# Not all of them matter equally. The *influence* of a past sample is the size of the gradient of
# the prediction with respect to it.

# %%
from wavenet.likelihood.effective_field import ClipInput, measure_effective_field

codes = model.checkpoint.codec.encode(waveform)
*_, field = measure_effective_field(
    model.checkpoint, [ClipInput(codes, {"digit": "7", "speaker": "theo"})], predictions=24
)
plt.figure(figsize=(9, 2.6))
plt.loglog(np.arange(1, len(field.influence) + 1), field.influence)
plt.xlabel("samples before the predicted one")
plt.ylabel("influence")
print("90 % of the influence comes from the newest", field.span(0.9), "samples")

# %% [markdown]
# ## Score: how likely is a recording?
#
# The model gives every sample a probability, so a recording has an exact likelihood. It is reported
# in bits per sample: 8 bits would be blind guessing among 256 codes, and lower is better. The wrong
# digit costs bits:

# %%
for digit in range(10):
    bits = model.score(seven, digit=digit, speaker="theo").bits_per_sample
    print(digit, f"{bits:.3f}", "<- the digit that it says" if digit == 7 else "")

# %% [markdown]
# ## Surprise
#
# The *surprise* of a sample is -log2 of its probability: where in the clip was the model unsure?
# It is high in noise, such as the *s* and the *v*, and low in the *n* at the end.

# %%
seconds = np.arange(len(seven.waveform)) / seven.sample_rate
smooth = np.convolve(seven.surprise, np.ones(80) / 80, mode="same")
figure, (above, below) = plt.subplots(2, 1, figsize=(9, 4), sharex=True)
above.plot(seconds, seven.waveform, linewidth=0.6)
above.set_ylabel("amplitude")
below.plot(seconds, smooth)
below.set_ylabel("surprise, bits")
below.set_xlabel("seconds")
plt.show()

# %% [markdown]
# ## Train a model
#
# A tiny model learns one voice within a minute. Its recordings are clips of the model above; a
# folder of your own audio files works the same way. What it says is no word yet: a useful model
# needs an hour, see the guide *Train on your recordings*.
#
# The next cell deletes the folder `first-steps` of the working folder, if there is one, and writes
# the recordings and the training into a new one.

# %%
import shutil
from pathlib import Path

folder = Path("first-steps")
shutil.rmtree(folder, ignore_errors=True)  # of an earlier run of this notebook
rows = [{"digit": n % 10, "speaker": "theo", "seed": n} for n in range(40)]
for n, clip in enumerate(model.generate_many(rows)):
    clip.save(folder / "recordings" / f"{n % 10}_{n}.wav")

# %%
losses = []
tiny = wavenet.train(
    "tiny",
    data=folder / "recordings",
    out=folder / "run",
    steps=150,
    quiet=True,
    on_record=lambda record: losses.append(record["loss_bits"]),
)
plt.figure(figsize=(9, 2.6))
plt.plot(losses)
plt.xlabel("step")
plt.ylabel("loss, bits per sample")
plt.show()

# %%
tiny.generate(seconds=1, seed=1)

# %% [markdown]
# The run is in the folder `first-steps/run`. `wavenet.train(..., steps=2000, resume=True,
# accept_changes=True)` trains it longer, and `wavenet.load("first-steps/run/checkpoint")` loads it
# again.
