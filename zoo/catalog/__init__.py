"""What was published: entries, their names, and the tables they were read from."""
