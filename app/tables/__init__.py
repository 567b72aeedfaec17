"""Tables: one model for any list of dataclasses; columns are data."""
