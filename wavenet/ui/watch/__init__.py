"""The Watch sampling tab: a clip step by step, with the prediction before every sample.

`watch_tab` builds the widgets, `watch_events` runs their callbacks, `step_viewer` shows the steps.
"""
