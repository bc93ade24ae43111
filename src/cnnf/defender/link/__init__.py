"""Adapters to the Console: enrolment, upload, settings stream."""
