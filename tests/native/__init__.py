"""Both packet loops as processes, with the test as the kernel and as the daemon."""
