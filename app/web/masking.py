"""Which headers of a request may be shown."""

import re
from collections.abc import Mapping

from app.domain.secret import MASK

# GitLab's receivers are sent the secret itself, not a signature made with it.
SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|password|api-?key|auth$", re.IGNORECASE
)


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with the values masked whose names say that they are secret.

    >>> masked_headers({"X-Gitlab-Token": "s3cret", "X-Hub-Signature-256": "sha256=ab"})
    {'X-Gitlab-Token': '••••••', 'X-Hub-Signature-256': 'sha256=ab'}
    """
    return {name: MASK if SECRET_NAME.search(name) else value for name, value in headers.items()}
