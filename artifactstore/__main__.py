"""``python -m artifactstore``."""

from artifactstore.cli.main import main

main()
