"""Contacts of pairs of geoms, one file per kind of pair."""
