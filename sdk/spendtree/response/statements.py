"""What the usage objects of a response state together: one flat object of counts. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

from spendtree.response.aliases import DETAILS, meaning
from spendtree.response.buckets import Facts
from spendtree.response.fields import Fields, Flat, fields_of, flat


def merged(usages: Sequence[tuple[Any, bool, bool]]) -> tuple[Flat, list[Fields]]:
    """Return what several usage objects state together, and their fields.

    Counts are cumulative, so a later zero or a smaller one says nothing; a Gemini's last one
    holds. The output in a stream's first event is provisional: alone, it is none.
    """
    together: Flat = {}
    provisional: Flat = {}
    statements: list[Fields] = []
    for usage, first, final in usages:
        stated = flat(usage)
        if not stated:
            continue
        fields = fields_of(usage, ("cost", "service_tier", "trafficType", "traffic_type"))
        statements.append(fields if fields is not None else stated)
        if first:
            for path in [path for path in stated if _is_output(path)]:
                provisional[path] = stated.pop(path)
        if not together:
            together = stated
            continue
        if final and not any(type(value) is int and value for value in stated.values()):
            continue
        for path, value in stated.items():
            before = together.get(path)
            if final or type(value) is not int or type(before) is not int or value > before:
                together[path] = value
    for path, value in provisional.items():
        if path in together and type(value) is int and type(together[path]) is int:
            together[path] = max(together[path], value)
    return together, statements


def _is_output(path: str) -> bool:
    known = meaning(path)
    return known is not None and known.bucket in ("output", "total", "reasoning")


def bare(events: Collection[Any]) -> list[Any]:
    """Return the events that are usage objects themselves, or state counts at their top."""
    found = []
    for event in events:
        fields = fields_of(event, _BARE_NAMES)
        if not fields:
            continue
        top = {
            key: value
            for key, value in fields.items()
            if type(key) is str and ("token" in key.lower() or _is_count(key))
        }
        if any(value is not None and _is_principal(key) for key, value in top.items()):
            found.append(top)
        elif fields.get("task") in _TRANSCRIPTION and fields.get("duration") is not None:
            found.append({"seconds": fields["duration"]})
    return found


_TRANSCRIPTION = ("transcribe", "translate", "transcription", "translation")
"""Tasks of Whisper: Groq states how long the audio is, and nothing else."""


_BARE_NAMES = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "prompt_token_count", "candidates_token_count"),
    *("total_token_count", "thoughts_token_count", "cached_content_token_count", "details"),
    *("prompt_tokens_details", "candidates_tokens_details", "prompt_eval_count", "eval_count"),
    *("input_tokens_details", "output_tokens_details", "completion_tokens_details"),
    *("input_audio_tokens", "output_audio_tokens", "cache_audio_read_tokens"),
)


def _is_count(key: str) -> bool:
    return meaning(key) is not None or key in DETAILS or key in ("results", "predictions", "usage")


def _is_principal(key: str) -> bool:
    known = meaning(key)
    return key in ("predictions",) or (known is not None and bool(known.bucket))


def bare_facts(facts: Facts, together: Flat, is_output: bool) -> Facts:
    """Return what follows from counts that stand at the top of a response."""
    named = {known.bucket for path in together if (known := meaning(path)) and known.bucket}
    return facts._replace(
        # Voyage's objects state nothing but a total.
        input_only=facts.input_only or (named == {"total"} and not is_output),
        omits_input="eval_count" in together and "prompt_eval_count" not in together,
    )


def is_images(events: Collection[Any], model: str) -> bool:
    """Return whether images are all that is made: OpenAI's images state no split of the output.

    It is the body of their endpoint if it has `data` and does not say what it is.
    """
    if model.startswith(("gpt-image", "chatgpt-image")):
        return True
    for event in events:
        fields = fields_of(event, ("data", "created"))
        data = fields.get("data") if fields and "object" not in fields else None
        if isinstance(data, (list, tuple)) and data and "created" in (fields or {}):
            item = fields_of(data[0], ("b64_json", "url")) or {}
            if "b64_json" in item or "url" in item:
                return True
    return False
