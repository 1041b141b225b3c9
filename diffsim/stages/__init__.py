"""The simulator's stages: one small kernel each, in a module of its own, with several lanes per world."""
