"""Several backends in one store: where packages go, what counts as present, and backends that pass on their writes."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.errors import BackendUnknownError, ConcurrentUpdateError
from artifactstore.registry.files import get_package
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.ingest import ingest
from artifactstore.registry.lease import Lease
from artifactstore.registry.open_packages import open_package, push_state
from artifactstore.registry.placing import placed
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.uploads import append, begin_upload, complete_upload
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import file_entry, package_draft, some_bytes
from tests.service import settings_of
from tests.support import replay_is_exact, tree_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SMALL, LARGE = b"small", some_bytes(3 * 1024 * 1024, seed=1)
FILES = {"small.txt": SMALL, "large.bin": LARGE}


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store with two directories, ``here`` (the default) and ``there``."""
    home.mkdir()
    config = home / "backends.toml"
    config.write_text(
        'default = "here"\n' + "".join(f'[backends.{name}]\nurl = "{home / name}"\n' for name in ("here", "there"))
    )
    config.write_text(config.read_text().replace('url = "/', 'url = "file:///'))
    settings = settings_of(home, {"ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(config), **database})
    with closing(open_registry(settings, actor="local:tester")) as registry:
        yield registry


def objects_in(registry: Registry, backend: str) -> int:
    """How many objects that packages consist of a backend really has."""
    kinds = (ObjectKind.BLOB, ObjectKind.PACK, ObjectKind.MANIFEST)
    return sum(len(list(registry.backend(backend).list(kind))) for kind in kinds)


def pass_on(registry: Registry, backend: str, successor: str) -> None:
    """Let another backend take the writes of one, as whoever empties it does."""
    with registry.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO backend_state (name, successor, succeeded_at) VALUES (?, ?, ?)",
            (backend, successor, registry.clock()),
        )


def reading(data: bytes) -> Callable[[int], bytes]:
    left = [data]

    def read(size: int) -> bytes:
        here, left[0] = left[0][:size], left[0][size:]
        return here

    return read


def test_a_package_goes_to_the_default_backend(registry: Registry) -> None:
    ingest(registry, package_draft(FILES))

    assert (3, 0) == (objects_in(registry, "here"), objects_in(registry, "there"))


def test_a_package_lies_wholly_in_the_backend_that_was_chosen(registry: Registry, tmp_path: Path) -> None:
    first = ingest(registry, package_draft(FILES))
    second = ingest(registry.putting_to("there"), package_draft(FILES, external_id="run-2"))

    assert (3, 3) == (objects_in(registry, "here"), objects_in(registry, "there"))
    assert first.stored_bytes == second.stored_bytes
    get_package(registry, second.package_id, tmp_path / "got")
    assert FILES == tree_contents(tmp_path / "got")
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


def test_what_lies_in_any_backend_is_not_stored_again_unless_one_is_chosen(registry: Registry) -> None:
    ingest(registry.putting_to("there"), package_draft(FILES))

    again = ingest(registry, package_draft(FILES, external_id="run-2"))

    assert 0 == again.stored_bytes
    assert 1 == objects_in(registry, "here"), "its manifest alone"


def test_a_package_that_is_there_is_answered_wherever_it_lies(registry: Registry) -> None:
    first = ingest(registry, package_draft(FILES))

    again = ingest(registry.putting_to("there"), package_draft(FILES))

    assert (first.package_id, True) == (again.package_id, again.reused_existing)
    assert 0 == objects_in(registry, "there")


def test_a_backend_that_is_not_configured_cannot_be_chosen(registry: Registry) -> None:
    with pytest.raises(BackendUnknownError, match="no backend named 'nowhere'"):
        registry.putting_to("nowhere")


def test_a_push_in_pieces_lies_in_the_backend_that_was_chosen_when_it_was_opened(registry: Registry) -> None:
    ingest(registry, package_draft(FILES))
    declared = [file_entry(path, data) for path, data in FILES.items()]
    draft = package_draft({}, external_id="run-2")

    opened = open_package(registry.putting_to("there"), draft, declared, as_revision=False, readable_producers=None)
    assert 2 == len(opened.missing), "what lies in the other backend does not count"
    receive_file(registry, opened.package_id, Announced("small.txt"), reading(SMALL))
    upload, _ = begin_upload(registry, opened.package_id, Announced("large.bin"), len(LARGE))
    append(registry, opened.package_id, upload.upload_id, 0, reading(LARGE))
    assert 1 == len(list(registry.backend("there").list(ObjectKind.PART)))
    complete_upload(registry, opened.package_id, upload.upload_id)
    assert () == push_state(registry, opened.package_id, readable_producers=None).missing
    finalize(registry, opened.package_id, readable_producers=None)

    assert (3, 3) == (objects_in(registry, "here"), objects_in(registry, "there"))
    assert [] == verify_all(registry).damage


def test_an_open_package_is_not_whole_by_what_lies_elsewhere(registry: Registry) -> None:
    ingest(registry, package_draft(FILES))
    declared = [file_entry("small.txt", SMALL)]
    chosen = registry.putting_to("there")

    opened = open_package(
        chosen, package_draft({}, external_id="x"), declared, as_revision=False, readable_producers=None
    )

    assert 1 == len(push_state(registry, opened.package_id, readable_producers=None).missing)


# backends that pass on their writes


def test_a_backend_that_is_being_emptied_passes_its_writes_on(registry: Registry) -> None:
    pass_on(registry, "here", "there")

    ingest(registry, package_draft(FILES))
    ingest(registry.putting_to("here"), package_draft({"other": b"other"}, external_id="run-2"))

    assert (0, 5) == (objects_in(registry, "here"), objects_in(registry, "there"))


def test_a_chain_of_successors_is_followed_to_its_end(registry: Registry) -> None:
    pass_on(registry, "old", "here")
    pass_on(registry, "here", "there")

    assert "there" == placed(registry).default_backend


def test_backends_that_pass_on_to_each_other_do_not_go_on_for_ever(registry: Registry) -> None:
    pass_on(registry, "here", "there")
    pass_on(registry, "there", "here")

    assert placed(registry).default_backend in {"here", "there"}


def test_no_lease_is_opened_for_a_backend_that_has_begun_to_pass_on_its_writes(registry: Registry) -> None:
    chosen_before = placed(registry)
    pass_on(registry, "here", "there")

    with Lease(chosen_before, "ingest") as lease, pytest.raises(ConcurrentUpdateError, match="is being emptied"):
        lease.ensure_open()


def test_an_ingest_that_meets_the_change_goes_on_in_the_successor(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend begins to be emptied after it was chosen and before the lease."""
    original, calls = Lease.ensure_open, list[str]()

    def ensure_open(lease: Lease) -> None:
        if not calls:
            calls.append("changed")
            pass_on(registry, "here", "there")
        original(lease)

    monkeypatch.setattr(Lease, "ensure_open", ensure_open)

    receipt = ingest(registry, package_draft(FILES))

    assert (0, 3) == (objects_in(registry, "here"), objects_in(registry, "there"))
    assert not receipt.reused_existing


def test_an_ingest_whose_lease_others_have_ended_stores_anew(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was taken for dead may not record: what it stored may have been removed meanwhile."""
    original, ended = Lease.end_in, list[int]()

    def end_in(lease: Lease, tx: object) -> None:
        if not ended:
            ended.append(1)
            tx.connection.execute("DELETE FROM lease")  # type: ignore[attr-defined]
        original(lease, tx)  # type: ignore[arg-type]

    monkeypatch.setattr(Lease, "end_in", end_in)

    receipt = ingest(registry, package_draft(FILES))

    assert [1] == ended
    assert not receipt.reused_existing
    assert [] == verify_all(registry).damage
