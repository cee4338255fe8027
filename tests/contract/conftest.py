"""Failures inside the shipped suites show their values, as those of any test do."""

import pytest

pytest.register_assert_rewrite("artifactstore.testing.object_store")
