"""Parts of the program against the real things they stand on."""
