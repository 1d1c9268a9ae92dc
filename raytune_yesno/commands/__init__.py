"""What each command does: read what was asked, call the library, say what came out.

A command is a function of the parsed options and the stream of results. It prints for people unless
JSON was asked for, and returns the JSON object. The command line imports the module of the one that
was asked for and no other.
"""
