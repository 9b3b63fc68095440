"""The architectures: name -> config class and network.

To add one, write its file beside `wavenet.py`, import it here and add a line to `ARCHITECTURES`.
Checkpoints, training, engines, the command line and the studio read this table. Called by
`checkpoint`, which builds models, and by all code that reads model configs.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Tag

from wavenet.codec import Codec
from wavenet.config import select_by
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.gated_pixel_cnn import GatedPixelCNN, GatedPixelCNNConfig
from wavenet.model.linear_attention import LinearAttention, LinearAttentionConfig
from wavenet.model.linear_prediction import LinearPredictionConfig, LinearPredictor
from wavenet.model.made import MADE, MADEConfig
from wavenet.model.model_config import ModelConfig
from wavenet.model.ngram import NGram, NGramConfig
from wavenet.model.pixel_cnn import PixelCNN, PixelCNNConfig
from wavenet.model.recurrent import GRUConfig, LSTMConfig, RecurrentNetwork, RNNConfig
from wavenet.model.row_lstm import RowLSTM, RowLSTMConfig
from wavenet.model.state_space import StateSpace, StateSpaceConfig
from wavenet.model.transformer import Transformer, TransformerConfig
from wavenet.model.wavenet import WaveNet, WaveNetConfig


class Architecture(NamedTuple):
    """The config class and the network of an architecture."""

    config: type[ModelConfig]
    model: type[AutoregressiveModel[Any]]


ARCHITECTURES = {
    "wavenet": Architecture(WaveNetConfig, WaveNet),
    "rnn": Architecture(RNNConfig, RecurrentNetwork),
    "gru": Architecture(GRUConfig, RecurrentNetwork),
    "lstm": Architecture(LSTMConfig, RecurrentNetwork),
    "transformer": Architecture(TransformerConfig, Transformer),
    "linear-attention": Architecture(LinearAttentionConfig, LinearAttention),
    "made": Architecture(MADEConfig, MADE),
    "state-space": Architecture(StateSpaceConfig, StateSpace),
    "ngram": Architecture(NGramConfig, NGram),
    "linear-prediction": Architecture(LinearPredictionConfig, LinearPredictor),
    "pixelcnn": Architecture(PixelCNNConfig, PixelCNN),
    "gated-pixelcnn": Architecture(GatedPixelCNNConfig, GatedPixelCNN),
    "row-lstm": Architecture(RowLSTMConfig, RowLSTM),
}
DEFAULT_ARCHITECTURE = "wavenet"  # of configs without the key `architecture`

if TYPE_CHECKING:
    AnyModelConfig = ModelConfig
else:
    # a model config in a file: any of the classes, selected by the key `architecture`
    _tagged = [Annotated[entry.config, Tag(name)] for name, entry in ARCHITECTURES.items()]
    AnyModelConfig = Annotated[
        reduce(or_, _tagged), select_by("architecture", DEFAULT_ARCHITECTURE, list(ARCHITECTURES))
    ]


def build_model(config: ModelConfig, codec: Codec, sample_rate: int) -> AutoregressiveModel[Any]:
    """Build the network of a config, with random weights.

    Args:
        config: of a registered architecture.
        codec: of the codes that the model predicts.
        sample_rate: Hz.
    """
    model = ARCHITECTURES[config.architecture].model
    return model(config, codec.bits, sample_rate, codec.silence_code)
