"""Kubernetes NetworkPolicies, to and from policies of ours: what decides alike, or is refused."""
