"""What anybody may put into a file: bytes without sense, and good files spoilt at a few places."""

import contextlib
import copy
import resource
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from prorl.config.section import LONGEST_MESSAGE, ConfigError
from prorl.errors import DataError

SECONDS = 10  # that no reader may take for a small file, however slow the machine
# The same examples at every run, and none kept on disk.
BOUNDED = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TOKENS = [
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b'"',
        b"'",
    ),
    *(
        b",",
        b"\t",
        b"::",
        b"|",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[" * 5000,
        b"{'a':" * 200,
        b"\\ud800",
        b"\\",
        b"\\N",
    ),
    *(
        b"nan",
        b"NaN",
        b"inf",
        b"-1",
        b"9" * 30,
        b"1e999",
        b"0x10",
        b"null",
        b"None",
        b"True",
        b"*a",
        b"&a ",
        b"!!",
    ),
    *(b"<script>", b"</script>", b"&amp;", b"&#x110000;", b" " * 300, "\u2028".encode(), "İ".encode()),
]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


class Running:
    """Writes a file where a pickle of it is loaded."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return open, (str(self.ran), "w")


def places(value, place=()):
    """Every way from `value` to a value within it."""
    yield place
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*place, key))


def with_value(value, place, new):
    """A copy of `value` with `new` at `place`, a way from it as of `places`."""
    if not place:
        return new
    changed = at = copy.deepcopy(value)
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = new
    return changed


@st.composite
def spoilt(draw, good: bytes):
    """`good` with a few stretches cut out, doubled, or replaced by something unwelcome."""
    found = good
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        end = min(len(found), at + draw(st.integers(0, 12)))
        kind = draw(st.sampled_from(["cut", "end", "token", "bytes", "twice"]))
        if kind == "end":
            found = found[:at]
        elif kind == "twice":
            found = found[:end] + found[at:]
        else:
            new = {"cut": st.just(b""), "token": st.sampled_from(TOKENS), "bytes": st.binary(max_size=8)}
            found = found[:at] + draw(new[kind]) + found[end:]
    return found


def any_bytes(good: bytes):
    """Spoilt files, and bytes without any sense."""
    return st.one_of(spoilt(good), spoilt(good), st.binary(max_size=200), st.sampled_from([b"", good]))


@contextlib.contextmanager
def only_declared(folder: Path, named: str = ""):
    """A block that may raise `DataError` and `ConfigError` alone, with one line that names `folder` or
    `named`, within `SECONDS`.
    """
    started = time.monotonic()
    try:
        yield
    except (DataError, ConfigError) as error:
        message = str(error)
        assert message.isprintable() or "\n" not in message
        assert len(message.splitlines()) == 1
        assert len(message) <= LONGEST_MESSAGE
        assert str(folder) in message or (named and named in message), message
    assert time.monotonic() - started < SECONDS


@contextlib.contextmanager
def memory_bounded(mib: int):
    """A block that may take `mib` MiB of address space beyond what the process has."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        has = int(stream.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + mib * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
