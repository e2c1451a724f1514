"""Pictures and where they are: files read and written, sizes, folders and tars of them, results, scores."""
