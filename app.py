"""The door of the Hugging Face Space: build the studio and launch it.

Enters: nothing. Leaves: `demo`, the Gradio app. On your own machine, `make app` does the same.
"""

import contextlib

# Only on ZeroGPU, where it has to come before anything that knows CUDA.
with contextlib.suppress(ImportError):
    import spaces  # noqa: F401

from wavenet.ui.studio_app import build_studio, launch_options
from wavenet.ui.zerogpu import use_zerogpu

use_zerogpu()
demo = build_studio()

if __name__ == "__main__":
    demo.launch(**launch_options())
