"""What a run was asked for: the command line, the composed configuration, and the objects made of it."""
