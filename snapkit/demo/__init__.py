"""The whole story on a server of its own."""
