"""The database backend of the project."""
