"""The service: what is heard goes into a database, and people and programs read it over HTTP."""
