"""The model bar: the model that all tabs use, and the values of its conditions.

`condition_form` draws the conditions of a model as one component; `model_bar` builds the bar.
"""
