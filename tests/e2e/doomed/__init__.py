"""A folder for PYTHONPATH, which makes the process that has it there die at a chosen step."""
