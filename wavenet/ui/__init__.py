"""The studio in the browser: one file per tab, whose callbacks call the library.

Gradio reads these settings when it is imported. They are set here, before any file of this package
imports it: no usage statistics, no history of runs, no flagging, no cache in a home folder that
cannot be written.
"""

import os

from wavenet.cache_folders import use_writable_caches

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "false"
os.environ["GRADIO_FLAGGING_MODE"] = "never"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
use_writable_caches()
