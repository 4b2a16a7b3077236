"""Results beside other results: two records, two runs image by image, two states of all records."""
