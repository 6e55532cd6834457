"""What snapkit does: gather what is on the server, decide on a plan, apply it. They print nothing and never exit."""
