"""What a person opens: one page, and the same as CSV, Markdown and LaTeX."""
