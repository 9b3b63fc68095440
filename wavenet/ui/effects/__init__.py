"""The Effects tab: render a recording through an amplifier or effect, compare, measure, train.

`effects_tab` has the widgets, the files `..._events` their callbacks; `effect_choices` loads
effects, `render_job` renders, `pair_switch` plays dry and wet sound by turns.
"""
