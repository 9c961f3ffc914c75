"""Migrations of the schema, one file per revision; they run when the service starts."""
