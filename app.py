"""The door of the Hugging Face Space: build the studio and launch it.

Enters: nothing. Leaves: `demo`, the Gradio app. On your own machine, `make app` does the same.
"""

from wavenet.ui.studio import build_studio, launch_options

demo = build_studio()

if __name__ == "__main__":
    demo.launch(**launch_options())
