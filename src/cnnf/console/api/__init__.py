"""The Console's HTTP interface, one file a resource."""
