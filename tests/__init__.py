"""A package, so that a library that installs its own ``tests`` does not hide this one."""
