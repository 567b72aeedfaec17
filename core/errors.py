"""What can go wrong in words a person can act on."""


class SnugError(Exception):
    """Something the user can put right: `message` says what is wrong, `hint` what to do. Exit code 2: bad input."""

    exit_code = 2
    resumable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class JobFailed(SnugError):
    """Good input, but the work could not be finished (the disk filled up, the source vanished). Exit code 1."""

    exit_code = 1


class Halted(JobFailed):
    """What stopped the work can be put right, and what is done stays: it can go on from there."""

    resumable = True


class Cancelled(Exception):
    """The user asked for the work to stop. Exit code 130."""
