"""The operators' view: reads through `models`, asks Prefect's API to run things, imports no tasks and no flows."""
