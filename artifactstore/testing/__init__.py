"""A kit for those who write backends and pilots: contract suites, faults, builders. Nothing shipped imports it."""
