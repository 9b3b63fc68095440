"""Amplifiers and effects: networks that filter a waveform, and their files.

An effect is feed-forward: it computes y from x in parallel, without sampling. `nam_file` and
`pedalnet_file` read files of other programs into a `NamModel`, plain checked data without torch.
`effect_builder` makes a torch module of it, which defines the correct result. Faster engines read
the `NamModel` itself.
`pair_report` judges a dry and a wet recording before an effect is trained on them.
`partitioned_convolution` and `oversampling` are used when sound is rendered.
"""
