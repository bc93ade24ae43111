"""Several hosts at once: what is on Radar is what was really connected, under the right names."""
