"""Programs for those who work on artifactstore."""
