"""The Compare tab: architectures with equal budgets, and their predictions of one recording.

`compare_tab` builds the widgets, `compare_events` runs their callbacks, `comparison_files` reads a
comparison, `comparison_message` and `member_predictions` build what the page shows.
"""
