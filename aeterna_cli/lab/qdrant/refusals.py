"""The answers that are not 200, with the status codes of the real server."""


class Refusal(Exception):
    """One request is answered with ``status`` and ``message`` in the server's error envelope."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def bad_input(message: str) -> Refusal:
    return Refusal(400, f"Wrong input: {message}")


def bad_request(message: str) -> Refusal:
    return Refusal(400, f"Bad request: {message}")


def bad_format(message: str) -> Refusal:
    return Refusal(400, f"Format error in JSON body: {message}")


def invalid(message: str) -> Refusal:
    """A well-formed body with a value outside its range: 422 on the real server."""
    return Refusal(422, f"Validation error in JSON body: [{message}]")


def not_found(message: str) -> Refusal:
    return Refusal(404, f"Not found: {message}")


def already_exists(message: str) -> Refusal:
    return Refusal(409, f"Wrong input: {message}")


def forbidden(message: str) -> Refusal:
    return Refusal(403, f"Forbidden: {message}")


def standalone() -> Refusal:
    return Refusal(405, "Qdrant is running in standalone mode")


def unavailable(message: str) -> Refusal:
    return Refusal(503, f"Service unavailable: {message}")


def service_error(message: str) -> Refusal:
    return Refusal(500, f"Service internal error: {message}")


#: How the engine begins its complaints about the request; every other one is its own fault.
_ENGINE_BLAMES_REQUEST = (
    "Vector dimension error",
    "Not existing vector name error",
    "Wrong vector name",
    "No range index for",
    "No appropriate index",
    "Wrong payload",
    "Bad input",
    "Wrong input",
    "Validation",
    "failed to parse",
)


def from_engine(error: Exception) -> Refusal:
    """The engine raises bare exceptions with a text: the text says whose fault it is."""
    text = str(error)
    if "No point with id" in text:
        return not_found(f"{text} found")
    if isinstance(error, (TypeError, ValueError, OverflowError, KeyError)):
        return bad_format(text.splitlines()[0] if text else type(error).__name__)
    if text.startswith(_ENGINE_BLAMES_REQUEST):
        return bad_input(text)
    return service_error(text)
