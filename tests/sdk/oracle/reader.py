"""Which function reads which recording: by provider and endpoint, never by a body's looks."""

from collections.abc import Callable
from typing import Any

from tests.sdk.oracle import anthropic, bedrock, google, openai, others
from tests.sdk.oracle.reading import Reading
from tests.sdk.recordings import recorded

Reader = Callable[[Any, str], Reading]

READERS: dict[tuple[str, str], tuple[Reader, Reader | None]] = {
    ("anthropic", "messages"): (anthropic.message, anthropic.message_stream),
    ("azure_openai", "chat_completions"): (openai.chat, None),
    ("bedrock", "converse"): (bedrock.converse, None),
    ("bedrock", "converse_stream"): (bedrock.converse, bedrock.converse_stream),
    ("bedrock", "invoke"): (bedrock.invoke, None),
    ("bedrock", "invoke_with_response_stream"): (bedrock.invoke, bedrock.invoke_stream),
    ("cerebras", "chat"): (openai.chat, None),
    ("cohere", "chat"): (others.cohere, others.cohere_stream),
    ("count_tokens", "any"): (others.token_count, None),
    ("deepseek", "chat"): (others.deepseek, others.deepseek_stream),
    ("deepseek", "responses"): (openai.response, openai.response_stream),
    ("gemini", "generate_content"): (google.content, google.content_stream),
    ("groq", "chat"): (others.groq, others.groq_stream),
    ("huggingface", "chat"): (openai.chat, openai.chat_stream),
    ("mistral", "chat"): (openai.chat, openai.chat_stream),
    ("ollama", "chat"): (others.ollama, others.ollama_stream),
    ("openai", "chat_completions"): (openai.chat, openai.chat_stream),
    ("openai", "embeddings"): (openai.embeddings, None),
    ("openai", "responses"): (openai.response, openai.response_stream),
    ("openrouter", "chat"): (others.openrouter, others.openrouter_stream),
    ("openrouter", "responses"): (
        others.openrouter_response,
        others.openrouter_response_stream,
    ),
    ("together", "chat"): (openai.chat, others.together_stream),
    ("vertex", "generate_content"): (google.content, google.content_stream),
}
"""The reader of a whole body and that of a stream, by provider and endpoint of the index.

Cerebras ("Chat completions"), Hugging Face ("Chat completion", router), Mistral ("Chat completion
endpoints") and Together's whole bodies document OpenAI's usage object without a difference in what
is recorded here; Mistral's "Prompt caching" has `prompt_tokens_details.cached_tokens`."""


def read(row: dict[str, Any]) -> Reading:
    """Return what a recording says. A response that failed states no usage and is not billed."""
    asked = str(row["model"])
    body = recorded(row["file"])
    if row["status"] != 200 or (row["body_kind"] == "json" and body.get("error")):
        return Reading(asked)
    whole, stream = READERS[row["provider"], row["endpoint"]]
    if row["body_kind"] == "json":
        return whole(body, asked)
    assert stream is not None
    return stream(body, asked)
