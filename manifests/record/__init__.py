"""What both sides of the container share: records, file names, forms of files."""
