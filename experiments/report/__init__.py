"""What the finished sweeps show, as a page, as Markdown and as pictures."""
