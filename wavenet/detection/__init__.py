"""Find improbable places of a recording; name the labels and the model that explain it best."""
