"""What can go wrong when writing to the API.

ApiProblem
├── Conflict      someone else was first; drop the plan and look again
├── Gone          the object is not there any more
├── Refused       the API server says that this will never do; the message says why
├── Transient     try again later
└── NotLeader     this process may not write any more
"""


class ApiProblem(Exception):  # noqa: N818 - the tree's root; its leaves are words of their own
    """Any answer but yes."""


class Conflict(ApiProblem):
    """409: the resourceVersion is old, or the name is taken."""


class Gone(ApiProblem):
    """404."""


class Refused(ApiProblem):
    """400, 403 or 422."""


class Transient(ApiProblem):
    """Connection lost, time-out, 429 or 5xx."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotLeader(ApiProblem):
    """The Lease is not held (any more): nothing may be written."""
