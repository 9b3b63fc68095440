"""Sound through effects: the chain of gain, model, cabinet and mix; files and live input.

Input: a `NamModel` and `ChainSettings`. `effect_chain` computes blocks with an explicit state;
`render_file` filters a file of any length; `live_effect` filters what a sound device records.
Called by the commands, the batches of effects and the studio.
"""
