"""The server: keeps what Defenders saw, answers the API, serves Radar."""
