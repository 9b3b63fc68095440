"""The viewer: pictures of one clip on a shared time axis, with its playback.

`panels` computes the data of each picture, `viewer` builds the component and its messages, and
`viewer.js` draws with uPlot.
"""
