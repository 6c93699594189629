"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """A value from outside (argument, file, key, image) is wrong.

    The message is one line that names the value, where it came from and what is allowed; the command line prints it
    and exits with status 2.
    """
