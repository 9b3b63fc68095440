"""A small convolutional network that names what is said in pictures of clips, and by whom.

Pictures (N, bands, frames) and labels enter; labels of other pictures leave, and an embedding. It
is trained on the CPU by one thread from fixed seeds: the same pictures give the same network.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

STEPS = 1200
BATCH = 32
HIGHEST_RATE = 3e-3  # of learning, risen to and fallen from in one cycle
WEIGHT_DECAY = 0.01
DROPOUT = 0.3
WIDTH = 64  # of every layer, and of the embedding
SHIFT = 3  # frames that pictures are moved by at most, in training
NOISE = 0.1  # added to them; they have deviation 1


class Network(nn.Module):
    """Convolutions over time, bands as channels, then the embedding, then a row of logits a label.

    Args:
        bands, frames: of the pictures.
        classes: number of values of each label.
    """

    def __init__(self, bands: int, frames: int, classes: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (bands, WIDTH, WIDTH):
            layers += [nn.Conv1d(channels, WIDTH, 5, padding=2, bias=False), nn.BatchNorm1d(WIDTH)]
            layers += [nn.ReLU(), nn.MaxPool1d(2)]
        self.convolutions = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(DROPOUT))
        self.embedding = nn.Sequential(nn.Linear(WIDTH * (frames // 8), WIDTH), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(WIDTH, number) for number in classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give the embedding (N, WIDTH) and logits (N, classes) of each label."""
        embedded = self.embedding(self.convolutions(pictures))
        return embedded, [head(embedded) for head in self.heads]


class PictureJudge:
    """A trained network.

    Args:
        pictures: (N, bands, frames) to learn from.
        labels: N values of each label, by name.
        steps: of the training.
    """

    def __init__(
        self, pictures: Tensor, labels: Mapping[str, Sequence[str]], steps: int | None = None
    ):
        self.values = {name: sorted(set(found)) for name, found in labels.items()}
        self._mean = pictures.mean((0, 2), keepdim=True)
        self._deviation = pictures.std((0, 2), keepdim=True, correction=0).clamp(min=1e-3)
        targets = [
            torch.tensor([values.index(one) for one in labels[name]])
            for name, values in self.values.items()
        ]
        classes = [len(values) for values in self.values.values()]
        _, bands, frames = pictures.shape
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._network = Network(bands, frames, classes)
            _train(self._network, self._normal(pictures), targets, steps or STEPS)
        self._network.requires_grad_(False).eval()

    def look(self, pictures: Tensor) -> tuple[Tensor, dict[str, list[str]]]:
        """Give the embedding (N, WIDTH) of pictures, and the label that each is given, by name."""
        with one_thread():
            embedded, logits = self._network(self._normal(pictures))
        found = zip(self.values.items(), logits, strict=True)
        return embedded, {
            name: [values[n] for n in rows.argmax(1).tolist()] for (name, values), rows in found
        }

    def _normal(self, pictures: Tensor) -> Tensor:
        return (pictures - self._mean) / self._deviation


def _train(network: Network, pictures: Tensor, targets: Sequence[Tensor], steps: int) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=HIGHEST_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, HIGHEST_RATE, total_steps=steps)
    network.train()
    for chosen in islice(_batches(len(pictures)), steps):
        batch = pictures[chosen]
        batch = torch.roll(batch, int(torch.randint(-SHIFT, SHIFT + 1, ())), 2)
        _, logits = network(batch + NOISE * torch.randn(batch.shape))
        pairs = zip(logits, targets, strict=True)
        loss = torch.stack([cross_entropy(rows, target[chosen]) for rows, target in pairs]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _batches(count: int) -> Iterator[Tensor]:
    """Go through all pictures in an order drawn anew each time, without end."""
    while True:
        yield from torch.randperm(count).split(BATCH)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch add up in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
