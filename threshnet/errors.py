"""The exception for invalid input that a user can fix."""


class InputError(ValueError):
    """An invalid value in user input: an argument, a file, a key or an image.

    The message is one line that names the value, where it came from and what is allowed; the command line prints it
    and exits with status 2.
    """
