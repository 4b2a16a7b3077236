"""What a run runs on: hardware, several processes, the code that made a record."""
