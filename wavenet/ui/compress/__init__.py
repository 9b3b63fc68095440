"""The Compress tab: recordings without loss in smaller files, and back.

`compress_tab` has the widgets, `compress_events` the callbacks. `compressed_uploads` checks and
processes uploaded files, also for the public functions in `compress_api`. `block_bits` draws what a
compressed file needs over time.
"""
