"""The ways of reading refs, each rule alone."""
