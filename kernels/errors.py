"""What can go wrong in this package; every class is a ValueError, so a caller may catch just that."""


class UnsupportedFormat(ValueError):
    """The format is unknown, or no backend has the wanted function for it."""


class UnsupportedBackend(ValueError):
    """The named backend does not exist, or lacks the format."""


class NonFinite(ValueError):
    """A weight is infinite or not a number; `row` and `column` say where the first one is."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(f"the weight at row {row}, column {column} is not finite")
        self.row = row
        self.column = column
