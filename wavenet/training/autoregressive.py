"""The type of model that training accepts, until `wavenet.model.base` defines it.

Called by the files of training that handle a model without knowing its architecture.
"""

from typing import TypeAlias

from wavenet.model.wavenet import WaveNet

AutoregressiveModel: TypeAlias = WaveNet
