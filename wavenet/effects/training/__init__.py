"""Train effects on dry and wet recordings, and export them as `.nam` files.

Order of reading: `effect_recipe` (settings), `effect_pairs` (recordings → windows),
`effect_losses`, `train_effect` (the loop), `trained_effect` (the folder), `nam_export`.
"""
