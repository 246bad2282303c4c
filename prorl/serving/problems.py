"""What is answered where something is wrong: a status, and words."""

from collections.abc import Sequence

from prorl.bundle.items import Item


class Problem(Exception):
    """What a caller is told: `field` is what was wrong in the request, `suggestions` what may have been
    meant, `retry_after` when to try again, in seconds.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        field: str | None = None,
        suggestions: Sequence[Item] = (),
        retry_after: int | None = None,
    ):
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field
        self.suggestions, self.retry_after = tuple(suggestions), retry_after
