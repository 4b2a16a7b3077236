"""Losses, chosen by name in a composition."""
