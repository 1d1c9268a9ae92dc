"""The options of the commands, in files named as the commands' modules.

They are apart from the code of the commands so that the program imports only the command it runs.
"""
