"""Commands about providers: asking one about a task, and pausing one."""
