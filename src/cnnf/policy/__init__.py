"""What may talk to what: pure values in, pure values out."""
