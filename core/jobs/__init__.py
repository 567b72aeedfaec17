"""A job as a thing that outlives its process: its folder, the orders it takes, the worker that does it."""
