"""The commands: each reads its options, calls the library and prints the result.

A command is a function of the parsed options and the result stream. It prints text, to standard
error if ``--json`` was given, and returns the JSON object. The command line imports only the module
of the command that it runs.
"""
