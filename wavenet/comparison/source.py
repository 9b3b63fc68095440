"""The recordings of a comparison: one dataset for all members.

Input: a recipe and a folder. Output: a `Source`, with the audio rate, the codec and the labels of
the recipe, and the recordings for training, validation and test. Called by the command line.
"""

from dataclasses import dataclass

from wavenet.config import make_config
from wavenet.errors import DataError
from wavenet.model.conditions import LabelCondition
from wavenet.training.dataset import Dataset, read_dataset
from wavenet.training.recipe import RecipeConfig
from wavenet.training.resolve_config import label_values


@dataclass(frozen=True)
class Source:
    """The recordings, and how they are read.

    Attributes:
        recipe: audio rate, codec and held-out recordings; its model is not used, except for the
            labels.
        dataset: of the recipe.
        labels: the label conditions of the recipe, with the values of the recordings.
    """

    recipe: RecipeConfig
    dataset: Dataset
    labels: tuple[LabelCondition, ...]


def read_source(recipe: RecipeConfig) -> Source:
    """Read the recordings of a recipe.

    Raises:
        DataError: no recordings are held out for validation or for the test.
    """
    model = recipe.model.model_copy(update={"conditions": recipe.model.labels})
    dataset = read_dataset(recipe.data, recipe.audio.sample_rate, model)
    for name in ("validation", "test"):
        if not getattr(dataset, name):
            raise DataError(
                f"no recording of {recipe.data.folder} is held out for {name}; set data.{name} in "
                "the recipe"
            )
    labels = []
    for label in recipe.model.labels:
        values = label.values or label_values(dataset.train, label.name)
        labels.append(
            make_config(LabelCondition, label.name, **{**dict(label), "values": tuple(values)})
        )
    return Source(recipe, dataset, tuple(labels))
