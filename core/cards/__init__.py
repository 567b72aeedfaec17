"""Recipe cards: what a file was made of and how, written, read, and made again."""
