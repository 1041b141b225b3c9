"""Actors with explicit noise."""
