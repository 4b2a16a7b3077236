"""Records to one static page: what was measured, beside what was published, with everything it takes to doubt it."""
