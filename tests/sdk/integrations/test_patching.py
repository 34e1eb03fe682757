"""Instrumenting puts our request in a client's place, and uninstrumenting puts it back."""

import subprocess
import sys
import textwrap
from typing import Any

import openai
import pytest

import spendtree
from spendtree import ConfigurationError
from spendtree.integrations import instrumented
from tests.sdk.integrations.desk import MESSAGES, MODEL, Desk, anthropic_client, openai_client

BODY: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50}


@pytest.fixture
def bare(desk: Desk) -> Desk:
    """Return a desk with nothing instrumented."""
    spendtree.uninstrument()
    return desk


def test_a_client_that_exists_already_is_tracked_and_released_again(bare: Desk) -> None:
    with bare.tracker.session(ceiling=1), openai_client(bare) as client:
        client.chat.completions.create(**BODY)
        assert spendtree.instrument("openai") == ("openai",)
        client.chat.completions.create(**BODY)
        spendtree.uninstrument("openai")
        client.chat.completions.create(**BODY)

    assert len(bare.provider.received) == 3
    assert bare.statuses() == ["ok"]


def test_what_was_there_before_is_there_again(bare: Desk) -> None:
    owner: Any = next(each for each in openai.OpenAI.__mro__ if "request" in vars(each))
    before = vars(owner)["request"]

    spendtree.instrument("openai")
    during = vars(owner)["request"]
    spendtree.uninstrument("openai")

    assert vars(owner)["request"] is before
    assert during is not before
    assert (during.__name__, during.__doc__) == (before.__name__, before.__doc__)


def test_instrumenting_twice_is_instrumenting_once(bare: Desk) -> None:
    spendtree.instrument("openai")
    spendtree.instrument("openai")

    with bare.tracker.session(ceiling=1), openai_client(bare) as client:
        client.chat.completions.create(**BODY)
        spendtree.uninstrument("openai")
        client.chat.completions.create(**BODY)

    assert bare.statuses() == ["ok"]


def test_without_names_all_that_is_installed_is_instrumented(bare: Desk) -> None:
    assert spendtree.instrument() == ("openai", "anthropic")
    assert instrumented() == ("openai", "anthropic")

    spendtree.uninstrument("anthropic")
    assert instrumented() == ("openai",)

    spendtree.uninstrument()
    assert instrumented() == ()


def test_another_instrumentation_on_top_of_ours_stays(bare: Desk) -> None:
    """Whoever came later holds on to our request; then ours only must not count any more."""
    owner: Any = next(each for each in openai.OpenAI.__mro__ if "request" in vars(each))
    before = owner.request
    spendtree.instrument("openai")
    ours = owner.request

    def theirs(*args: Any, **given: Any) -> Any:
        return ours(*args, **given)

    owner.request = theirs
    try:
        spendtree.uninstrument("openai")
        assert owner.request is theirs
        with bare.tracker.session(ceiling=1), openai_client(bare) as client:
            client.chat.completions.create(**BODY)
        assert bare.ends() == []
    finally:
        owner.request = before


def test_only_the_wrapped_client_is_tracked(bare: Desk) -> None:
    with bare.tracker.session(ceiling=1), openai_client(bare) as one, openai_client(bare) as other:
        wrapped = spendtree.wrap(one)
        wrapped.chat.completions.create(**BODY)
        other.chat.completions.create(**BODY)

    assert wrapped is one
    assert type(wrapped).__name__ == "OpenAI"
    assert isinstance(wrapped, openai.OpenAI)
    assert bare.statuses() == ["ok"]


def test_copies_of_a_wrapped_client_are_tracked(bare: Desk) -> None:
    with bare.tracker.session(ceiling=1), anthropic_client(bare) as client:
        copied = spendtree.wrap(client, provider="elsewhere").with_options(timeout=5)
        copied.messages.create(**BODY)

    assert bare.end().request.provider == "elsewhere"


def test_an_unwrapped_client_is_as_before(bare: Desk) -> None:
    with bare.tracker.session(ceiling=1), openai_client(bare) as client:
        spendtree.uninstrument(spendtree.wrap(client))
        client.chat.completions.create(**BODY)

    assert type(client) is openai.OpenAI
    assert bare.ends() == []


def test_a_wrapped_client_of_an_instrumented_library_counts_once(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        spendtree.wrap(spendtree.wrap(client)).chat.completions.create(**BODY)
        spendtree.uninstrument(client)
        client.chat.completions.create(**BODY)

    assert desk.statuses() == ["ok", "ok"]
    desk.agree()


def test_a_name_that_is_not_known_is_refused_before_anything_changes(bare: Desk) -> None:
    with pytest.raises(ConfigurationError, match="there are openai, anthropic"):
        spendtree.instrument("openai", "opanai")

    assert instrumented() == ()


def test_what_is_no_client_is_refused(bare: Desk) -> None:
    with pytest.raises(ConfigurationError, match=r"str is no client .* use spendtree\.call"):
        spendtree.wrap("openai")
    with openai_client(bare) as client, pytest.raises(ConfigurationError, match="was not wrapped"):
        spendtree.uninstrument(client)


def test_a_version_that_nobody_knows_is_refused(
    bare: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = next(each for each in openai.OpenAI.__mro__ if "_should_retry" in vars(each))
    monkeypatch.delattr(owner, "_should_retry")

    with pytest.raises(ConfigurationError, match=r"openai \d.* have no _should_retry"):
        spendtree.instrument("openai")


ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("openai", "anthropic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import spendtree

for names in [("openai",), ("anthropic",), ()]:
    try:
        spendtree.instrument(*names)
    except spendtree.ConfigurationError as error:
        print(error)
"""


def test_without_the_libraries_the_message_names_the_extras() -> None:
    assert python(ABSENT).splitlines() == [
        "'openai' cannot be instrumented, since 'openai' is not installed: "
        "pip install 'spendtree[openai]'",
        "'anthropic' cannot be instrumented, since 'anthropic' is not installed: "
        "pip install 'spendtree[anthropic]'",
        "there is nothing to instrument: pip install 'spendtree[openai]' or 'spendtree[anthropic]'",
    ]


def test_the_libraries_are_imported_when_they_are_instrumented_and_not_before() -> None:
    code = """
        import sys, spendtree
        print(sorted({"openai", "anthropic", "httpx"} & set(sys.modules)))
        spendtree.instrument("openai")
        print(sorted({"openai", "anthropic"} & set(sys.modules)))
    """

    assert python(code).splitlines() == ["[]", "['openai']"]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
