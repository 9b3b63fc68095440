"""The Generate tab: settings, live playback, the finished clip with its pictures.

`generate_tab` builds the widgets, `generate_events` runs their callbacks, `generation_job` checks
the settings and collects the audio, `live_player` plays it, `share_settings` writes links.
"""
