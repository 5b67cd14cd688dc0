"""RepoSentry: notices every branch and tag change in any Git repository, and never loses one."""

__version__ = "0.1.0"
