"""README tables -> published cells, each with the file, the line and the text it was read from.

    text -> `sources` (lines; merge conflicts, code) -> `markdown` (tables; stray, missing and unescaped bars)
         -> `layouts` (which column is which metric, which row is which entry) -> `documents` (cells; `numbers`)
         -> `evidence` (results/published/<zoo>.csv)

Tables are read as they are found. Whatever is repaired or left out on the way is an `Issue`, a value, never silence.
"""
