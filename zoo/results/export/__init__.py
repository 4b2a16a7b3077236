"""What was measured, in the formats of others: one file a format, found by what its `EXPORT` says."""
