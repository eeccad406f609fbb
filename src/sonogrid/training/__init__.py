"""What decides a fit, and nothing else: an edit of this code, comments and docstrings apart, fits every cell again.

Messages, progress, paths, records and checkpoints are in fits/. What is imported here from other rooms is listed in
fits/recipe.py, each name with the key of the recipe that carries its effect.
"""
