"""The server of the studio: who may connect, what may be sent, where files lie and how long.

`host_check` and `request_limits` check requests, `checked_blocks` checks the inputs of events,
`uploads` reads files, `temporary_files` deletes them.
"""
