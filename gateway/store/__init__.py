"""Everything that is written down: one SQLite file, one module per noun.

Functions take an open connection first and never begin or end a transaction: their caller, an
operation of `writer.Writer`, is inside one. `now` is wall-clock seconds and always passed in.
"""
