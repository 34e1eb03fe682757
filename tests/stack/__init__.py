"""The stack of docker-compose.yml without Docker, for developers and for tests."""
