"""Each test of this room starts with an accelerator of its own."""

from tests.tiny_models import fresh_accelerator  # noqa: F401
