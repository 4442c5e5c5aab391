"""Code that runs in more than one function."""
