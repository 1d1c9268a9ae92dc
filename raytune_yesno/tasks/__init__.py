"""What can be learnt: the protocol of a task, the built-in tasks, the registry of tasks."""
