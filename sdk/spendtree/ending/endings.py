"""Which failures were surely not billed, and by what source. Only the table; `judging` walks it.

Names stand for themselves: no client is imported to know its errors.
"""

from typing import Literal, NamedTuple


class Ending(NamedTuple):
    """One row: failures that end a call alike.

    `kind` says what `names` are: HTTP statuses, codes that a provider or gRPC gives an error, or
    exception classes, by module and name (subclasses included). `outcome` is "void" if nothing
    was billed, "lapse" if that is not sure; `why` says so in few words; `source` says who says it.
    """

    kind: Literal["status", "code", "exception"]
    names: tuple[str, ...]
    outcome: Literal["void", "lapse"]
    why: str
    source: str


def _of(modules: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for module in modules.split() for name in names)


_FAILED_IS_FREE = (
    'Anthropic "How will I be billed for Claude API use?": failed requests are not charged; '
    'Gemini API "Billing": a 400 or 500 is not; Azure OpenAI "Manage costs": 401 and 429 are not'
)
_SENT = "the request had been sent, or may have been"

ENDINGS = (
    # Codes first: they say more than the status that comes with them.
    Ending(
        "code",
        (
            *("content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation"),
            "context_length_exceeded",
        ),
        "lapse",
        "a filter or the model had read the input",
        'Azure OpenAI "Manage costs": a 400 due to a content filter or input limit is charged',
    ),
    Ending(
        "code",
        ("ModelErrorException", "ModelStreamErrorException", "ModelTimeoutException"),
        "lapse",
        "the model was running",
        'Amazon Bedrock Runtime "InvokeModel: Errors"',
    ),
    Ending(
        "code",
        (
            *("ThrottlingException", "ServiceQuotaExceededException", "ModelNotReadyException"),
            *("AccessDeniedException", "ValidationException", "ResourceNotFoundException"),
        ),
        "void",
        "refused by Bedrock before a model ran",
        'Amazon Bedrock "Troubleshooting API error codes"',
    ),
    Ending(
        "code",
        (
            *("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"),
            *("UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "RESOURCE_EXHAUSTED"),
        ),
        "void",
        "refused by Google or xAI before a model ran",
        'gRPC "Status codes"; Gemini API "Billing" and "Troubleshooting"',
    ),
    Ending(
        "code",
        (
            *("DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "UNAVAILABLE", "INTERNAL", "UNKNOWN"),
            "DATA_LOSS",
        ),
        "lapse",
        _SENT,
        'gRPC "Status codes"',
    ),
    Ending(
        "status",
        (
            *("400", "401", "402", "403", "404", "405", "406", "409", "410", "411", "413"),
            *("414", "415", "421", "422", "426", "428", "431", "451"),
        ),
        "void",
        "refused as a request",
        _FAILED_IS_FREE,
    ),
    Ending("status", ("429",), "void", "refused by a rate limit or a quota", _FAILED_IS_FREE),
    Ending(
        "status",
        ("529",),
        "void",
        "refused by an overloaded provider, before a byte",
        'Anthropic "Errors": overloaded_error; "How will I be billed": failed ones are not charged',
    ),
    Ending(
        "status",
        ("408", "424", "499"),
        "lapse",
        "given up while a model may have been running",
        'Azure OpenAI "Manage costs": a 408 is charged; Bedrock: 424 is ModelErrorException; '
        "gRPC: 499 is CANCELLED",
    ),
    Ending(
        "status",
        ("5xx",),
        "lapse",
        "failed at the provider, or at a gateway before it",
        "no provider but Gemini says that a 5xx is free, and a gateway's timeout is one, too",
    ),
    Ending(
        "status",
        ("2xx",),
        "lapse",
        "failed after it had begun to answer",
        'Anthropic "Errors": with streaming, an error can follow a 200',
    ),
    Ending(
        "exception",
        ("builtins.ConnectionRefusedError",),
        "void",
        "connection refused",
        "connect(2): ECONNREFUSED, nobody listens",
    ),
    Ending(
        "exception",
        ("socket.gaierror", "aiohttp.ClientConnectorDNSError", "urllib3.NameResolutionError"),
        "void",
        "host name not found",
        "getaddrinfo(3); a name is looked up before there is a connection",
    ),
    Ending(
        "exception",
        (
            "ssl.SSLCertVerificationError",
            *_of("aiohttp", "ClientConnectorSSLError", "ClientConnectorCertificateError"),
        ),
        "void",
        "no trusted TLS connection",
        "RFC 8446, 2: the server is authenticated before application data is sent",
    ),
    Ending(
        "exception",
        (
            *_of("httpx httpx2 httpcore httpcore2", "ConnectError", "ConnectTimeout"),
            *_of("httpx httpx2 httpcore httpcore2", "PoolTimeout", "ProxyError"),
            *_of("httpx httpx2 httpcore httpcore2", "UnsupportedProtocol"),
            *_of("aiohttp", "ClientConnectorError", "ConnectionTimeoutError", "InvalidURL"),
            *_of("urllib3", "NewConnectionError", "ConnectTimeoutError"),
            *_of("requests", "ConnectTimeout", "InvalidURL"),
            *_of("botocore", "EndpointConnectionError", "ConnectTimeoutError"),
            *_of("botocore", "ProxyConnectionError"),
        ),
        "void",
        "no connection",
        "HTTPX, aiohttp, urllib3, botocore: the request is sent on a connection that stands",
    ),
    Ending(
        "exception",
        (
            *_of("botocore", "NoCredentialsError", "PartialCredentialsError", "NoRegionError"),
            *_of("botocore", "ParamValidationError"),
        ),
        "void",
        "no request could be made",
        "botocore exceptions: raised before a request is signed",
    ),
    Ending(
        "exception",
        (
            "asyncio.CancelledError",
            "builtins.TimeoutError",
            "builtins.ConnectionResetError",
            "builtins.ConnectionAbortedError",
            "builtins.BrokenPipeError",
            *_of("httpx httpx2", "ReadTimeout", "WriteTimeout", "ReadError", "WriteError"),
            *_of("httpx httpx2", "CloseError", "RemoteProtocolError", "DecodingError"),
            *_of("aiohttp", "ServerDisconnectedError", "ClientPayloadError", "SocketTimeoutError"),
            *_of("requests", "ReadTimeout", "ChunkedEncodingError"),
            *_of("botocore", "ReadTimeoutError", "ConnectionClosedError", "ResponseStreamingError"),
            *_of("botocore", "EventStreamError"),
        ),
        "lapse",
        _SENT,
        'Anthropic "How will I be billed": charged if the client disconnects or times out',
    ),
    Ending(
        "exception",
        ("tenacity.RetryError", *_of("google.api_core", "Aborted", "RetryError")),
        "lapse",
        "may stand for several attempts",
        "google-api-core and tenacity: raised when their own retries end",
    ),
    Ending(
        "exception",
        _of("litellm", "ContentPolicyViolationError", "ContextWindowExceededError"),
        "lapse",
        "a filter or the model had read the input",
        'Azure OpenAI "Manage costs", as with the codes above; LiteLLM "Exception mapping"',
    ),
)
"""First row first; of exceptions that caused one another, see `not_billed`."""
