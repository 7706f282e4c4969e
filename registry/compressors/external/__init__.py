"""Models that were compressed elsewhere: ready-made checkpoints, and tools that run in an environment of their own."""
