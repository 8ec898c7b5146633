"""What earlier versions have written and said is understood by this one."""
