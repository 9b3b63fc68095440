"""The Train tab: recordings, the settings of a run, and its progress.

`train_tab` builds the widgets, `train_events` has their callbacks. `recording_scan` reads a folder
in a thread, `training_recordings` describes it, `recipe_choices` the recipes, `run_view` a run.
"""
