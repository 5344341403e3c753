"""What starts and ships it: the command line, the local stack, the demo."""
