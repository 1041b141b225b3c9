"""MuJoCo's dynamics, one stage per file, and its exact gradient: Warp functions for one world at a time."""
