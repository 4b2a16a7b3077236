"""Assigners: which ground-truth box, if any, each anchor or proposal is trained to find."""
