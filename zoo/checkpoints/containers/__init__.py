"""From the bytes of a checkpoint file to plain data: what holds the bytes, and pickles read without running them."""
