"""The command ``vmops``: one file per noun."""
