"""The app class of the studio, which reports invalid inputs of an event in one sentence.

Gradio checks inputs before it calls a function of the studio. It reports its own errors with a
traceback in the log, and without the name of the field. Input: the inputs of an event, of any type.
Output: the inputs that the function receives, or an error of one sentence. Called by `studio_app`.
"""

import json
import math
import sys
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from wavenet.errors import ConditionError
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.page_text import convert_user_errors, error_sentence
from wavenet.ui.server.gradio_compat import resolve_urls

_MAX_SHOWN = 60  # characters of an invalid value in a message
_MAX_WHOLE = 1 << 53  # browsers store larger integers only approximately
_MAX_TEXT = 10_000  # characters of a text field
_CHOICES = (gr.Dropdown, gr.Radio, gr.CheckboxGroup)
NO_FUNCTION = "This event runs only in the page; call one of the functions of the API."


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
            gr.Error: an input is invalid, or the event has no function.
        """
        if block_fn.fn is None:
            raise gr.Error(NO_FUNCTION, print_exception=False)
        with convert_user_errors():
            for block, value in zip(block_fn.inputs, inputs, strict=False):
                if isinstance(block, gr.State):  # its value stays on the server
                    continue
                # If an event has changed a label or range, the session has a copy of the field.
                is_copied = state is not None and block._id in state
                check_input(state[block._id] if state and is_copied else block, value)
            inputs = [resolve_urls(value) for value in inputs]
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error as error:
            sentence = error_sentence(ValueError(error.message))
        except ValueError:
            sentence = "The request does not fit the page; reload the page."
        raise gr.Error(sentence, print_exception=False)


def check_input(field: Any, value: Any) -> None:
    """Check the type and the range of a value; files are checked later, by Gradio.

    An empty field passes, except a choice that always has a value.

    Raises:
        ConditionError: the field cannot have this value.
    """
    name = field.label or "a field"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ConditionError(f"{name}: expected Unicode text, found {_shown(value)}") from None
    except RecursionError:
        raise ConditionError(f"{name}: expected a value, found lists in lists") from None
    if value is None and not isinstance(field, gr.Radio | gr.Checkbox | gr.CheckboxGroup):
        return
    if isinstance(field, gr.Number | gr.Slider):
        _check_number(field, name, value)
    elif isinstance(field, gr.Textbox):
        _check_text(field, name, value)
    elif isinstance(field, gr.Checkbox) and not isinstance(value, bool):
        raise ConditionError(f"{name}: expected true or false, found {_shown(value)}")
    elif isinstance(field, _CHOICES) and not _is_chosen(field, value):
        raise ConditionError(f"{name}: expected one of its choices, found {_shown(value)}")


def _check_text(field: gr.Textbox, name: str, value: Any) -> None:
    limit = field.max_length or _MAX_TEXT
    expected = f"{name}: expected a text of at most {limit:,} characters"
    if not isinstance(value, str):
        raise ConditionError(f"{expected}, found {_shown(value)}")
    if len(value) > limit:
        raise ConditionError(f"{expected}, found {len(value):,}")


def _check_number(field: gr.Number | gr.Slider, name: str, value: Any) -> None:
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    is_whole = isinstance(value, int) or field.precision == 0
    limit = _MAX_WHOLE if is_whole else sys.float_info.max
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if field.precision == 0 and isinstance(value, float) and not value.is_integer():
        raise ConditionError(f"{name}: expected a whole number, found {_shown(value)}")
    if is_number and abs(value) <= limit and low <= value <= high:  # not NaN
        return
    least, most = (f"{bound:,g}" if abs(bound) < 1e6 else f"{bound:,.0f}" for bound in (low, high))
    expected = "a number"
    if field.minimum is not None:
        expected += f" from {least}" if field.maximum is not None else f" of at least {least}"
    if field.maximum is not None:
        expected += f" to {most}" if field.minimum is not None else f" of at most {most}"
    raise ConditionError(f"{name}: expected {expected}, found {_shown(value)}")


def _is_chosen(field: Any, value: Any) -> bool:
    choices = [choice for _, choice in field.choices]
    if isinstance(field, gr.CheckboxGroup):
        return isinstance(value, list) and all(item in choices for item in value)
    is_free = isinstance(field, gr.Dropdown) and field.allow_custom_value
    return isinstance(value, str) and (is_free or value in choices)


def _shown(value: Any) -> str:
    return "nothing" if value is None else ascii(value)[:_MAX_SHOWN]
