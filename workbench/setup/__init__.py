"""What bootstrap.py is made of: a bare Python can import it."""
