"""Training by a recipe: the loop, its rates and optimisers, checkpoints that survive a kill."""
