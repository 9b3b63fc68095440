"""The Analyse tab: measures and pictures of any recording, and its surprise under the model.

`analyse_tab` has the widgets, `analyse_events` the callbacks, `recording_measures` the numbers.
"""
