"""The names of providers: tables that say who is meant. Pure; it does not know the catalogue.

Providers are called otherwise by each dialect: OpenTelemetry's `gen_ai.provider.name` and older
`gen_ai.system`, OpenInference's `llm.provider`, LiteLLM's prefixes ("azure/gpt-4o"). The table
maps them to the ids of the price catalogue.
"""

import re

NAMES: dict[str, tuple[str, ...]] = {
    "anthropic": ("anthropic_text",),
    "aws": ("aws_bedrock", "amazon", "amazon_bedrock", "bedrock_converse"),
    "azure": ("azure_openai", "azure_ai", "azure_text", "az_ai_openai", "az_ai_inference"),
    "cerebras": (),
    "cohere": ("cohere_chat",),
    "deepseek": (),
    "fireworks": ("fireworks_ai", "fireworksai"),
    "github-copilot": ("github_copilot",),
    "google": ("gcp_gemini", "gcp_gen_ai", "gemini", "google_genai", "google_ai_studio"),
    "groq": (),
    "mistral": ("mistral_ai", "mistralai", "codestral"),
    "moonshotai": ("moonshot", "moonshot_ai"),
    "novita": ("novita_ai",),
    "openai": ("text_completion_openai",),
    "openrouter": (),
    "perplexity": ("perplexity_ai",),
    "together": ("together_ai", "togetherai"),
    "voyageai": ("voyage", "voyage_ai"),
    "x-ai": ("x_ai", "xai"),
    "zai": ("z_ai",),
    "zhipuai": ("zhipu", "zhipu_ai"),
}
"""Id in the catalogue -> other names of it, in lower case with "_" for ".", "-" and spaces."""

HOSTS = (("azure", "azure"), ("bedrock", "aws"), ("vertex", "google"), ("openrouter", "openrouter"))
"""Words that decide wherever they stand: "AzureOpenAI" bills by Azure's list, not by OpenAI's."""

UNLISTED = frozenset(
    """
    anyscale baidu dashscope deepinfra featherless_ai friendliai gradient_ai huggingface
    hyperbolic ibm_watsonx_ai lambda_ai lepton llama_cpp llamacpp llamafile lm_studio lmstudio
    local localai nebius nscale nvidia_nim hosted_vllm oci ollama ollama_chat petals predibase
    replicate sagemaker sagemaker_chat sambanova sglang siliconflow snowflake tgi triton vllm
    volcengine watsonx watsonx_text xinference
    """.split()  # noqa: SIM905 - a list literal would take a line for each word
)
"""Sellers and local runtimes that the catalogue does not list.

Nobody knows what they charge, and the model maker's own list does not say: a DeepSeek model run by
Ollama costs no DeepSeek money. Their calls are priced by the user's own prices or not at all.
"""

_ALIASES = {alias: id for id, aliases in NAMES.items() for alias in (id, *aliases)}
_BEDROCK_ID = re.compile(
    r"(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|global|regional)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai"
    r"|nvidia|openai|qwen|stability|twelvelabs|writer|zai)\.[a-z]"
)
_HOSTED = re.compile(r"^(?:[a-z-]+\.)?(?:[a-z0-9]+\.)(?=[a-z])")
_GOOGLE_NAME = re.compile(r"(?:projects/.+/|publishers/[^/]+/)?models/(?P<model>[^/]+)")


def canonical(provider: str) -> str:
    """Return the catalogue's id for a provider's name; a name that no table knows in lower case."""
    name = provider.strip().lower()
    key = _key(name)
    if key in _ALIASES:
        return _ALIASES[key]
    return next((id for word, id in HOSTS if word in key), name)


def is_unlisted(provider: str) -> bool:
    """Return whether it is known that the catalogue cannot know this provider's prices."""
    return _key(provider.strip().lower()) in UNLISTED


def is_named(provider: str) -> bool:
    """Return whether the tables here know this provider by any of its names."""
    return canonical(provider) in NAMES or is_unlisted(provider)


def read_model(model: str) -> tuple[str, str]:
    """Return (the provider that a model's name tells, the name without it); "" is none.

    Reads "provider/model", Bedrock ids ("eu.anthropic.claude-…") and Google's resource names
    ("models/gemini-…"). What stands before "/" may also be no provider: the caller must look.
    """
    if _BEDROCK_ID.match(model.lower()):
        return "aws", model
    google = _GOOGLE_NAME.fullmatch(model)
    if google:
        return "google", google["model"]
    before, slash, after = model.partition("/")
    return (before, after) if slash and after else ("", model)


def plain_id(model: str) -> str:
    """Return a model's id without what hosts put before it: "regional.anthropic.claude-…"."""
    return _HOSTED.sub("", model)


def _key(name: str) -> str:
    return re.sub(r"[\s.\-]+", "_", name)
