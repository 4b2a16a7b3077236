"""Whether committed results hold: what was measured just now, held against them; what a CI job asks."""
