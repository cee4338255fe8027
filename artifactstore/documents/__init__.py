"""Records as JSON documents: what the commands print and what the HTTP API answers are the same.

Instants are RFC 3339, digests ``algorithm:hex``.
"""

from __future__ import annotations

Document = dict[str, object]
"""What a JSON object is made of."""
