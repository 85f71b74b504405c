"""What the path of a message is made of: its stages, what it carries along, and what it leaves behind."""
