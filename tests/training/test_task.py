"""The seam between loop and networks: a model that is no WaveNet trains without other changes."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wavenet.config import GaussianOutput
from wavenet.model.conditioning import Conditioning
from wavenet.model.distributions import make_distribution
from wavenet.training import cpu_loss, loop
from wavenet.training.batches import collate
from wavenet.training.dataset import Dataset
from wavenet.training.prefetch import make_device_batch
from wavenet.training.task import CodeLikelihoodTask, mean_nll

from . import (
    CPU,
    MODEL,
    RATE,
    build_model,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    read_metrics,
)


class TinyRecurrent(nn.Module):
    """A recurrent model of codes without conditions: its receptive field is unlimited."""

    def __init__(self, config):
        super().__init__()
        self.config, self.sample_rate, self.start_code = config, RATE, 128
        self.n_classes, self.receptive_field = 256, None
        self.distribution = make_distribution(config.output, 8)
        self.embedding = nn.Embedding(256, 8)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.output = nn.Linear(8, 256)

    def forward(self, codes, conditioning, start=None):
        inputs = F.pad(codes[:, :-1], (1, 0), value=self.start_code)
        return self.output(self.recurrent(self.embedding(inputs))[0]).transpose(1, 2)

    def conditioning(self, values, totals, frames=None, first=None, device=None):
        batch = len(totals)
        return Conditioning(
            None,
            torch.zeros(batch, 0, dtype=torch.int64),
            torch.zeros(batch, 1, 0),
            torch.zeros(batch, 0, 0),
            torch.zeros(batch, dtype=torch.int64),
            torch.tensor(totals),
            self.config.condition_hop,
        )

    @property
    def parameter_count(self):
        return sum(p.numel() for p in self.parameters())


@dataclasses.dataclass(frozen=True)
class RecurrentTask(CodeLikelihoodTask):
    """The task for `TinyRecurrent`, which no checkpoint can describe yet."""

    def build_model(self):
        return TinyRecurrent(self.config.model)


def test_a_recurrent_model_trains_with_the_generic_loss(tmp_path):
    settings = make_settings(
        steps=60, samples_per_step=400, learning_rate=0.02, muon_learning_rate=0.02, gain_db=0.0
    )
    clips = [make_clip(200, 0)] * 2
    task = RecurrentTask(make_config(), settings, Dataset(train=clips, validation=clips[:1]))
    loop.train(task, tmp_path, device=CPU)
    losses = [record["loss_bits"] for record in read_metrics(tmp_path)]
    assert losses[0] == pytest.approx(8, abs=0.5)
    assert losses[-1] < losses[0] - 1.5
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "| receptive field | unlimited |" in card
    assert loop.train(task, tmp_path, resume=True, device=CPU).step == 60


def test_muon_gets_the_hidden_matrices_of_a_recurrent_model():
    task = RecurrentTask(make_config(), make_settings(), make_dataset())
    model = task.build_model()
    names = {id(p): name for name, p in model.named_parameters()}
    hidden, others = ([names[id(p)] for p in group] for group in task.parameter_groups(model))
    assert hidden == ["recurrent.weight_ih_l0", "recurrent.weight_hh_l0"]
    assert sorted([*hidden, *others]) == sorted(names.values())


@pytest.mark.parametrize("bits", [8, 16])
def test_the_generic_loss_equals_the_clipwise_loss_of_a_wavenet(monkeypatch, bits):
    output = {} if bits == 8 else {"output": GaussianOutput()}
    model = build_model(make_config(bits=bits, **output))
    clips = [make_clip(60, 0), make_clip(90, 1, context=20, start=50)]
    batch = make_device_batch(collate(clips, bits, MODEL, [1.0, 1.0]), model)
    clipwise = mean_nll(model, batch).item()
    monkeypatch.setattr(cpu_loss, "supports", lambda model: False)
    assert mean_nll(model, batch).item() == pytest.approx(clipwise, rel=1e-5)
