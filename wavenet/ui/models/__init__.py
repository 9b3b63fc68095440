"""The Models tab: one card per model, with a sample, its facts and actions; import of models.

`model_shelf` draws the cards, `model_sample` generates the samples, `models_events` has the
callbacks.
"""
