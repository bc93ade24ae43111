"""What cnnf costs: figures measured with it against none, interleaved in one run (`make bench`)."""
