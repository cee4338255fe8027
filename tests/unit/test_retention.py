"""How long, and what may be changed about it."""

from __future__ import annotations

import pytest

from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.retention import (
    DEFAULT_DAYS,
    MAX_DAYS,
    RetentionClass,
    RetentionPolicy,
    check_extension,
    expiry,
)
from artifactstore.errors import ConfigurationError, RetentionInvalidError

NOW = Instant(1_795_000_000_000_000)


def test_classes_have_their_documented_durations() -> None:
    assert {name.value: days for name, days in DEFAULT_DAYS.items()} == {
        "transient": 7,
        "raw-evidence": 30,
        "summary-evidence": 365,
        "release-evidence": 3_650,
        "permanent-record": None,
    }


@pytest.mark.parametrize("name", list(RetentionClass))
def test_class_is_read_from_its_name(name: str) -> None:
    assert RetentionClass.parse(str(name)) is name


@pytest.mark.parametrize("name", ["", "forever", "Transient", "raw_evidence"])
def test_unknown_class_is_refused_and_the_five_are_named(name: str) -> None:
    with pytest.raises(RetentionInvalidError) as caught:
        RetentionClass.parse(name)

    assert all(known in caught.value.hint for known in RetentionClass)


def test_duration_can_be_overridden() -> None:
    policy = RetentionPolicy.with_overrides({"transient": 1})

    assert (policy.duration_days(RetentionClass.TRANSIENT), policy.duration_days(RetentionClass.RAW_EVIDENCE)) == (
        1,
        30,
    )


def test_override_leaves_the_defaults_alone() -> None:
    RetentionPolicy.with_overrides({"transient": 1})

    assert RetentionPolicy().duration_days(RetentionClass.TRANSIENT) == 7


@pytest.mark.parametrize("days", [0, -1, MAX_DAYS + 1, 1.5, "7", True, None, [7]])
def test_duration_that_makes_no_sense_is_refused(days: object) -> None:
    with pytest.raises(ConfigurationError, match="transient"):
        RetentionPolicy.with_overrides({"transient": days})


@pytest.mark.parametrize("days", [1, MAX_DAYS])
def test_shortest_and_longest_duration_are_accepted(days: int) -> None:
    assert RetentionPolicy.with_overrides({"transient": days}).duration_days(RetentionClass.TRANSIENT) == days


def test_duration_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no retention class 'forever'"):
        RetentionPolicy.with_overrides({"forever": 1})


def test_permanent_record_cannot_be_shortened() -> None:
    with pytest.raises(ConfigurationError, match="never expires"):
        RetentionPolicy.with_overrides({"permanent-record": 1})


def test_expiry_is_so_many_days_after_finalizing() -> None:
    assert expiry(NOW, 30) == NOW + 30 * MICROSECONDS_PER_DAY


def test_without_duration_there_is_no_expiry() -> None:
    assert expiry(NOW, None) is None


def test_later_extension_is_accepted() -> None:
    check_extension(NOW, Instant(NOW + 1))


@pytest.mark.parametrize("new", [NOW, NOW - 1])
def test_extension_that_is_not_later_is_refused(new: Instant) -> None:
    with pytest.raises(RetentionInvalidError, match="is not later"):
        check_extension(NOW, new)


def test_what_never_expires_cannot_be_extended() -> None:
    with pytest.raises(RetentionInvalidError, match="never expires"):
        check_extension(None, NOW)
