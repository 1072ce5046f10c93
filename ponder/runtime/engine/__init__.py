"""The engine Ponder owns: pages, views, prefix tree, scheduler, step plan, thread and branches."""
