"""What the system can do, as plain functions over a ``Registry``. Each opens its own transaction or takes one."""
