"""``customers``: the operators' command.

One module per command or group of commands; :mod:`customers_cli.app` lists them.
"""
