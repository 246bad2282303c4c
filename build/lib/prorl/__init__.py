"""ProRL: proactive recommendation, from raw interaction logs to a policy that guides users towards a target
item.

`prorl.load_policy(folder)` gives a released policy; see `prorl.bundle.policy`.
"""

import importlib
from typing import Any

# Found where they are asked for, so that a stage depends on what it imports alone.
_OFFERED = {
    "load_policy": "prorl.bundle.policy",
    "ReleasedPolicy": "prorl.bundle.policy",
    "GuideRequest": "prorl.bundle.paths",
    "GuidedPath": "prorl.bundle.paths",
    "Judged": "prorl.bundle.paths",
    "Item": "prorl.bundle.items",
    "Items": "prorl.bundle.items",
}


def __getattr__(name: str) -> Any:
    if name in _OFFERED:
        return getattr(importlib.import_module(_OFFERED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
