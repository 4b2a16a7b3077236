"""Published checkpoints: fetched, hashed, pinned, read without executing a pickle, renamed key by key."""
