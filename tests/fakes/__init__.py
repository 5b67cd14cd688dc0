"""Stand-ins for the outside: they obey the same protocols and can be told to misbehave."""
