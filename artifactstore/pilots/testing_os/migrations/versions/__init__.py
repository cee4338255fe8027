"""Each migration of the branch, oldest first."""
