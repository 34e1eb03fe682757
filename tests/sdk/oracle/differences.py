"""Where the oracle and Spendtree differ, one by one: what each says, who is right, and why."""

from tests.sdk.oracle.difference import PARTIAL, RETIRED, Difference

DIFFERENCES = (
    Difference(
        "bedrock/invoke_with_response_stream__eventstream__200__009.json",
        {"output": ("97", "133"), "cost": ("0.002631", "0.003171")},
        "safe",
        (
            "the model's message_delta says 133, Bedrock's invocation metrics say 97; neither "
            "page says which is billed, and the larger is taken"
        ),
    ),
    Difference(
        "deepseek/chat__sse__200__003.json",
        {"cost": ("0.0001281", "0.00046758")},
        "safe",
        (
            "deepseek-reasoner is an old name that Flash serves and is billed as (another "
            "recording of it names deepseek-v4-flash); the price list has the price of the "
            "model it once was"
        ),
    ),
    Difference(
        "gemini/generate_content__json__200__024.json",
        {"usage": ("stated", "presumed"), "output": ("76", "0"), "reasoning": ("58", "0")},
        "safe",
        PARTIAL,
    ),
    Difference(
        "gemini/generate_content__sse__200__044.json",
        {"usage": ("stated", "presumed"), "output": ("90", "0"), "reasoning": ("67", "0")},
        "safe",
        PARTIAL,
    ),
    Difference(
        "mistral/chat__sse__200__009.json",
        {"cost": ("0.001755", "0.00118")},
        "lists",
        (
            "magistral-medium-latest now points to Mistral Medium 3.5 ($1.50/$7.50) by one "
            "list, and is still Magistral Medium ($2/$5) by the other"
        ),
    ),
    Difference(
        "openai/chat_completions__json__200__001.json",
        {"reasoning": ("3", "0")},
        "data",
        ("edited by who recorded it: 4 completion tokens of which 4 were audio and 3 reasoning"),
    ),
    Difference(
        "openrouter/chat__json__200__006.json",
        {"cost": ("0.0041265", "unpriced")},
        "named",
        "the price list has no price for OpenRouter's x-ai/grok-4",
    ),
    Difference(
        "openrouter/chat__json__200__009.json",
        {"cache_write": ("2161", "0")},
        "data",
        (
            "OpenRouter bills the same 2,161 tokens as read from and as written to Google's "
            "cache (the stated cost is exactly both); buckets are disjoint, and the stated cost "
            "is taken"
        ),
    ),
    Difference(
        "openrouter/chat__sse__200__026.json",
        {"reasoning": ("11", "10")},
        "data",
        "11 reasoning tokens of 10 completion tokens; the part is no more than the whole",
    ),
    Difference(
        "together/chat__json__200__001.json",
        {"cost": ("0.0000318", "0.0000477")},
        "lists",
        "Mixtral 8x7B is $0.60 by one list and $0.90 by the other",
    ),
    Difference(
        "together/chat__sse__200__003.json",
        {"cost": ("0.00005824", "0.00004928")},
        "lists",
        "Llama 3.3 70B Turbo is $1.04 by one list and $0.88 by the other",
    ),
    Difference(
        "vertex/generate_content__json__200__004.json",
        {"cost": ("0.00000675", "0.0000045")},
        "wrong",
        (
            "Vertex AI pricing: Gemini 2.0 Flash costs $0.15/$0.60 there, $0.10/$0.40 on the "
            "Gemini API; one provider name, google, stands for both"
        ),
    ),
    *(
        Difference(file, {"cost": (oracle, "unpriced")}, "named", RETIRED)
        for file, oracle in (
            ("bedrock/converse_stream__eventstream__200__005.json", "0.000488"),
            ("bedrock/invoke__json__200__010.json", "0.0002465"),
            ("bedrock/invoke__json__200__018.json", "0.000488"),
            ("bedrock/invoke_with_response_stream__eventstream__200__007.json", "0.000488"),
            ("cerebras/chat__json__200__005.json", "0.000658"),
        )
    ),
)
