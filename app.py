"""Entry point of the Hugging Face Space: build the studio and launch it.

Output: `demo`, the Gradio app. Called by the Space. On your own machine, `make app`
does the same.
"""

import contextlib

# Exists only on ZeroGPU, and must be imported before any package that uses CUDA.
with contextlib.suppress(ImportError):
    import spaces  # noqa: F401

from wavenet.ui.server.temporary_files import end_on_termination, use_private_folder
from wavenet.ui.studio_app import build_studio, launch_options
from wavenet.ui.zerogpu import choose_start

use_private_folder()
demo = build_studio(start=choose_start())

if __name__ == "__main__":
    end_on_termination()
    demo.launch(**launch_options())
