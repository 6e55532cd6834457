"""Everything that talks to the server; the only package that knows SQLAlchemy and psycopg."""
