"""The app class of the studio, which reports invalid inputs of an event in one sentence.

Gradio checks inputs before it calls a function of the studio. It reports its own errors with a
traceback in the log, and without the name of the field. Input: the inputs of an event, of any type.
Output: the inputs that the function receives, or an error of one sentence. Called by `studio_app`.
"""

import math
import sys
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from wavenet.errors import ConditionError
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.page_text import convert_user_errors, error_sentence

_MAX_SHOWN = 60  # characters of an invalid value in a message
_MAX_WHOLE = 1 << 53  # browsers store larger integers only approximately


class CheckedBlocks(gr.Blocks):
    """Blocks that convert all errors in the inputs of an event to one sentence.

    Attributes:
        clips: the clips of all visitors; the server deletes expired ones.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Create the blocks with an empty store of clips."""
        super().__init__(*args, **options)
        self.clips = ClipStore()

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """Check the inputs of an event, and convert them to arguments of its function.

        Raises:
            gr.Error: an input is invalid.
        """
        with convert_user_errors():
            for block, value in zip(block_fn.inputs, inputs, strict=False):
                # If an event has changed a label or range, the session has a copy of the field.
                is_copied = state is not None and block._id in state
                check_input(state[block._id] if state and is_copied else block, value)
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error as error:
            sentence = error_sentence(ValueError(error.message))
        except ValueError:
            sentence = "The request does not fit the page; reload the page."
        raise gr.Error(sentence, print_exception=False)


def check_input(field: Any, value: Any) -> None:
    """Check the value of a number field, a slider or a choice; others, and empty ones, pass.

    Raises:
        ConditionError: it is not a number or not in the range of the field, or it is not a text.
    """
    if value is None and not isinstance(field, gr.Radio):
        return
    name, shown = field.label or "a field", ascii(value)[:_MAX_SHOWN]
    if isinstance(field, gr.Dropdown | gr.Radio) and not isinstance(value, str):
        raise ConditionError(f"{name}: expected one of its choices, found {shown}")
    if not isinstance(field, gr.Number | gr.Slider):
        return
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    is_whole = isinstance(value, int) or field.precision == 0
    limit = _MAX_WHOLE if is_whole else sys.float_info.max
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if field.precision == 0 and isinstance(value, float) and not value.is_integer():
        raise ConditionError(f"{name}: expected a whole number, found {shown}")
    if is_number and abs(value) <= limit and low <= value <= high:  # not NaN
        return
    expected = "a number"
    if field.minimum is not None:
        expected += f" from {low:g}" if field.maximum is not None else f" of at least {low:g}"
    if field.maximum is not None:
        expected += f" to {high:g}" if field.minimum is not None else f" of at most {high:g}"
    raise ConditionError(f"{name}: expected {expected}, found {shown}")
