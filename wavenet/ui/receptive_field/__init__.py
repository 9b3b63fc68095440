"""The Receptive field tab: which past samples an output can depend on, and how strongly.

`receptive_field_tab` builds the widgets, `network_settings` checks the network, `network_facts`
describes it, `speed_measurement` and `influence_measurement` run a model.
"""
