"""Training of the face recogniser that judges swaps, in the loop of `vidswap.training.loop`."""
