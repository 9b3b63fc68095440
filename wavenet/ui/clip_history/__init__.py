"""The clips of a visitor: stored on the server until they expire, listed beside every tab.

`clip_store` keeps files and facts, `history_panel` draws the list and runs its actions.
"""
