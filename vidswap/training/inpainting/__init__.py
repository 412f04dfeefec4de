"""Training of the models that fill faces, all in the one loop of `vidswap.training.loop`."""
