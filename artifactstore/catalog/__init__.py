"""What exists, in SQL: tables, the event log, the projections that fill the tables from it, and queries."""
