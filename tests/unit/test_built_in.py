"""How a plug-in is found: with the name and version of the distribution it was installed with, and no other."""

from __future__ import annotations

import sys
from importlib import invalidate_caches
from typing import TYPE_CHECKING

import pytest

from artifactstore.built_in import ENTRY_POINTS, PLUGINS, InstalledWords, installed_plugins, load_plugin, words_of
from artifactstore.domain.provenance import Provenance
from artifactstore.domain.vocabulary import CORE
from artifactstore.errors import ConfigurationError, PluginFailedError, PluginUnknownError
from artifactstore.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Install = Callable[..., None]

PLAIN = "from artifactstore.plugins import *\nPLUGIN = Plugin(name='mailbox', summary='Reads a mailbox.')\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Distributions as an installer leaves them: a module each, its metadata, its entry points."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules: list[str] = []

    def install(
        code: str = PLAIN, *, name: str = "mailbox", distribution: str = "acme-mailbox", version: str = "2.7.1"
    ) -> None:
        module = f"installed_{len(modules)}_{site.parent.name.replace('-', '_')}"
        modules.append(module)
        (site / f"{module}.py").write_text(code)
        metadata = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{PLUGINS}]\n{name} = {module}:PLUGIN\n")
        invalidate_caches()

    yield install
    for module in modules:
        sys.modules.pop(module, None)


def test_an_installed_plugin_has_the_version_of_its_distribution(install: Install) -> None:
    install(PLAIN.replace("summary=", "contract_version='7', summary="))

    loaded = load_plugin("mailbox")

    assert ("acme-mailbox", "2.7.1") == (loaded.distribution, loaded.version)
    assert Provenance("mailbox", "2.7.1", "7") == loaded.provenance
    assert "plugin:mailbox@2.7.1" == loaded.provenance.actor


@pytest.mark.parametrize("name", ENTRY_POINTS[PLUGINS])
def test_our_own_plugins_have_our_version(name: str) -> None:
    loaded = load_plugin(name)

    assert (name, "artifactstore", VERSION) == (loaded.plugin.name, loaded.distribution, loaded.version)


def test_a_plugin_cannot_say_its_version(install: Install) -> None:
    install(PLAIN.replace("summary=", "version='9', summary="))

    with pytest.raises(PluginFailedError, match="unexpected keyword argument 'version'"):
        load_plugin("mailbox")


def test_installed_plugins_are_named_without_being_loaded(install: Install) -> None:
    install("raise SystemExit('loaded')")
    install(name="another", distribution="acme-another")

    names = installed_plugins()

    ours = list(ENTRY_POINTS[PLUGINS])
    assert ours == names[: len(ours)]
    assert {"mailbox", "another"} <= set(names)
    assert len(names) == len(set(names))


def test_a_name_that_nobody_installed_is_unknown() -> None:
    with pytest.raises(PluginUnknownError, match="no plug-in named 'mailbox' is installed"):
        load_plugin("mailbox")


def test_two_distributions_with_one_name_are_both_named(install: Install) -> None:
    install()
    install(distribution="other-mailbox")

    with pytest.raises(ConfigurationError, match="acme-mailbox and other-mailbox both provide a plug-in"):
        load_plugin("mailbox")


def test_a_distribution_that_is_found_twice_is_one(install: Install, tmp_path: Path) -> None:
    install()
    sys.path.append(str(tmp_path / "site-packages" / "."))

    try:
        assert "mailbox" == load_plugin("mailbox").plugin.name
    finally:
        sys.path.pop()


@pytest.mark.parametrize("name", ENTRY_POINTS[PLUGINS])
def test_a_third_partys_claim_to_a_name_of_ours_counts_for_nothing(install: Install, name: str) -> None:
    install(PLAIN.replace("mailbox", name), name=name, distribution="impostor")

    assert "artifactstore" == load_plugin(name).distribution
    assert 1 == installed_plugins().count(name)


BROKEN = {
    "import nobody_has_this_module": "ModuleNotFoundError",
    "PLUGIN = 1 / 0": "ZeroDivisionError",
    "def broken(": "SyntaxError",
    "": "AttributeError",
    PLAIN.replace("summary='Reads a mailbox.'", ""): "TypeError",
}


@pytest.mark.parametrize("code", BROKEN, ids=BROKEN.values())
def test_a_plugin_that_cannot_be_imported_is_named(install: Install, code: str) -> None:
    install(code)

    with pytest.raises(PluginFailedError, match=f"'mailbox' of acme-mailbox cannot be loaded: {BROKEN[code]}"):
        load_plugin("mailbox")


SUBCLASS = PLAIN + "class Mine(Plugin):\n    pass\nPLUGIN = Mine('mailbox', 'x')\n"
LYING_NAME = """
from artifactstore.plugins import Plugin
class Name(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = str.__hash__
PLUGIN = Plugin(name=Name('guide-board'), summary='x')
"""
LYING_OBJECT = """
from artifactstore.plugins import Plugin
class Lying:
    __class__ = Plugin
    name, contract_version = 'mailbox', '1'
PLUGIN = Lying()
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(PLAIN.replace("'mailbox'", "'guide-board'"), id="the name of another"),
        pytest.param("PLUGIN = {'name': 'mailbox'}", id="no plug-in"),
        pytest.param("from artifactstore.plugins import Plugin\nPLUGIN = Plugin", id="a class"),
        pytest.param(SUBCLASS, id="a derived type"),
        pytest.param(LYING_NAME, id="a name that is equal to all"),
        pytest.param(LYING_OBJECT, id="an object that says it is one"),
    ],
)
def test_what_is_not_a_plugin_of_this_name_is_refused(install: Install, code: str) -> None:
    install(code)

    with pytest.raises(PluginFailedError, match="'mailbox' of acme-mailbox is not a Plugin of this name"):
        load_plugin("mailbox")


@pytest.mark.parametrize("name", ["Mailbox", "acme.mailbox", "mail box", "-mailbox", "m" * 65])
def test_a_name_that_others_could_be_mistaken_for_is_refused(install: Install, name: str) -> None:
    install(PLAIN.replace("mailbox", name), name=name)

    with pytest.raises(PluginFailedError, match="the name of the plug-in"):
        load_plugin(name)


@pytest.mark.parametrize("version", ["1", "None", "''", "'a\\nb'", "'1' * 600"])
def test_the_version_of_what_it_says_must_be_text(install: Install, version: str) -> None:
    install(PLAIN.replace("summary=", f"contract_version={version}, summary="))

    with pytest.raises(PluginFailedError, match="the contract version of the plug-in 'mailbox'"):
        load_plugin("mailbox")


@pytest.mark.parametrize("lines", ["Name: acme-mailbox\n", "Name: acme-mailbox\nVersion: \n"])
def test_a_distribution_without_a_version_has_no_plugin(install: Install, tmp_path: Path, lines: str) -> None:
    install()
    (metadata,) = tmp_path.rglob("METADATA")
    metadata.write_text(f"Metadata-Version: 2.1\n{lines}")

    with pytest.raises(PluginFailedError, match="acme-mailbox of the plug-in 'mailbox' has no version"):
        load_plugin("mailbox")


# words


def with_words(words: str) -> str:
    return f"{PLAIN}PLUGIN = Plugin(name='mailbox', summary='x', words=lambda: {words})\n"


def test_a_plugin_registers_words_of_its_own(install: Install) -> None:
    install(with_words("Words((LocationKind('mailbox.message', 'x'),), roles=('mailbox.owner',))"))

    words = InstalledWords().words_of("mailbox")

    assert words is not None
    assert (["mailbox.message"], ("mailbox.owner",)) == ([kind.name for kind in words.location_kinds], words.roles)


@pytest.mark.parametrize(
    "words",
    [
        "Words((LocationKind('message', 'x'),))",
        "Words((LocationKind('guide-board.run', 'x'),))",
        "Words((LocationKind('mailbox.a.b', 'x'),))",
        "Words((LocationKind('mailbox.', 'x'),))",
        "Words((LocationKind('mailbox.A', 'x'),))",
        "Words(identifier_kinds=(IdentifierKind('email', 'x'),))",
        "Words(roles=('author',))",
        "Words(roles=('mailbox',))",
        "Words(trust_levels=('verified',))",
        "Words(roles=('mailbox.a', 'mailbox.a'))",
        "Words((LocationKind('mailbox.a', 'x'), LocationKind('mailbox.a', 'y')))",
        "Words(roles=(type('Lying', (str,), {'rpartition': lambda *_: ('mailbox', '.', 'x')})('author'),))",
        "Words(roles=(7,))",
        "Words(('mailbox.message',))",
        "Words((IdentifierKind('mailbox.a', 'x'),))",
        "Words(identifier_kinds=(IdentifierKind('mailbox.a', 'x', 'scoped'),))",
        "Words(None)",
        "None",
        "1 / 0",
    ],
)
def test_words_that_are_not_its_own_or_none_at_all_are_the_plugins_failure(install: Install, words: str) -> None:
    install(with_words(words))

    with pytest.raises(PluginFailedError, match="'mailbox'"):
        InstalledWords().words_of("mailbox")


def test_words_are_asked_for_once(install: Install) -> None:
    install(
        f"{PLAIN}asked = []\nPLUGIN = Plugin(name='mailbox', summary='x', words=lambda: asked.append(1) or Words())"
    )
    words = InstalledWords()

    assert words.words_of("mailbox") is words.words_of("mailbox")


def test_what_is_not_installed_has_no_words_and_is_looked_for_once(install: Install) -> None:
    words = InstalledWords()

    before = words.words_of("mailbox")
    install()

    assert [None, None] == [before, words.words_of("mailbox")]
    assert InstalledWords().words_of("mailbox")


@pytest.mark.parametrize(
    ("name", "told"), [("KeyboardInterrupt", KeyboardInterrupt), ("SystemExit", PluginFailedError)]
)
def test_only_a_person_ends_the_process_while_a_plugin_says_its_words(
    install: Install, name: str, told: type[BaseException]
) -> None:
    install(f"{PLAIN}def end(): raise {name}\nPLUGIN = Plugin(name='mailbox', summary='x', words=end)")

    with pytest.raises(told):
        words_of(load_plugin("mailbox"))


def test_the_core_is_a_plugin_like_any() -> None:
    assert words_of(load_plugin(CORE)).roles
