"""Running a plan: reading, encoding, writing and checking, so that any end can be gone on from."""
