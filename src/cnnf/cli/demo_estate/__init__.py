"""The demo estate: a shop of real containers and host services, built from this machine alone."""
