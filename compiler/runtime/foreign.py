"""Arguments under the names that other libraries give them, and what to give here instead."""

from __future__ import annotations

from collections.abc import Callable

from compiler.generation import FOLLOWED, IDLE, REFUSED

# Name there: our argument and what is to be known about it, or a sentence where there is no such argument.
OURS: dict[str, tuple[str, str]] = {
    "num_beams": ("beams", ""),
    "stop_strings": ("stop", ""),
    "stop_sequences": ("stop", ""),
    "do_sample": ("temperature", "tokens are drawn where it is above 0"),
    "max_length": ("max_new_tokens", "it counts the answer's tokens without the prompt's"),
    "min_length": ("min_new_tokens", "it counts the answer's tokens without the prompt's"),
    "max_tokens": ("max_new_tokens", ""),
    "max_completion_tokens": ("max_new_tokens", ""),
    "n_predict": ("max_new_tokens", ""),
    "num_predict": ("max_new_tokens", ""),
    "repeat_penalty": ("repetition_penalty", ""),
    "random_seed": ("seed", ""),
    "streamer": ("stream", "stream=True gives the pieces of the answer one by one"),
    "stopping_criteria": ("cancel", "a threading.Event, or `stop` for texts"),
    "return_dict_in_generate": ("details", "details=True gives tokens and log-probabilities"),
    "output_scores": ("details", "details=True gives log-probabilities"),
    "output_logits": ("details", 'details="logits" gives them'),
    "logprobs": ("details", "details=True gives log-probabilities"),
    "chat_template": ("template", "the name of one of the checkpoint's templates"),
    "negative_prompt_ids": ("negative_prompt", "as text"),
    "adapter_name": ("adapter", ""),
}
NONE: dict[str, str] = {
    "num_return_sequences": "give a list that repeats the prompt: with a temperature, each row is drawn by itself",
    "n": "give a list that repeats the prompt: with a temperature, each row is drawn by itself",
    "input_ids": "give the prompt as text, or tokens to run()",
    "attention_mask": "give the prompt as text, or tokens to run()",
    "return_full_text": "leave it out: an answer never repeats the prompt",
    "generation_config": "give its settings one by one; those of the checkpoint hold anyway",
    "eos_token_id": "leave it out: the checkpoint's own tokens end an answer; `stop` takes texts that end it too",
    "pad_token_id": "leave it out: the checkpoint's own is taken",
    "bos_token_id": "leave it out: the checkpoint's own is taken",
    "add_generation_prompt": "leave it out: chat messages are always followed by the assistant's turn",
    "tokenizer": "leave it out: the bundle's own is taken",
}


def hint(name: str, spelled: Callable[[str], str] = str) -> str:
    """What to do about an argument of `generate` that is called so elsewhere; "" where nothing is known of it.

    `spelled` writes an argument of ours as the user has to.
    """
    if name in OURS:
        ours, remark = OURS[name]
        return f"give {spelled(ours)}{remark and ': '}{remark}"
    if name in NONE:
        return NONE[name]
    if name in FOLLOWED:
        return "leave it out: what the checkpoint declares for it is followed, and a call cannot change it"
    if name in REFUSED:
        return "leave it out: it is not implemented"
    return "leave it out: it changes no answer" if name in IDLE else ""
