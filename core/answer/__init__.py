"""The whole answer to "will it run here": which level, how fast, what would change that, and the line that runs it."""
