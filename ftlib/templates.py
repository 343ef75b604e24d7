"""Mistral's chat format as its own reference encoder (mistral-common) writes it, for tokenizers whose template differs.

Templates in circulation for the Mistral 7B Instruct models differ in the spaces round `[INST]` and `[/INST]`: the reply
"Hi" becomes token 23809 or, in the reference, 15359. ftlib follows the tokenizer's own template, and offers this one.
"""

from __future__ import annotations

from typing import Any, Literal

from ftlib import tokens

ChatTemplate = Literal["own", "mistral-reference"]

# mistral_common/tokens/tokenizers/instruct.py (1.13): every turn is encoded by itself, so SentencePiece puts a space
# before it. v1 (7B Instruct v0.1 and v0.2) has [INST] as text and the system prompt in the first user message; v3
# (v0.3) has [INST] as a token, the system prompt in the last, and takes spaces off an answer's end.
_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] + '\n\n' -%}"
    "{%- set turns = messages[1:] -%}{%- else -%}{%- set system = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{{- bos_token -}}"
    "{%- for message in turns -%}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}{%- endif -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- 'OPEN' + (system if SYSTEM else '') + message['content'] + 'CLOSE' -}}"
    "{%- else -%}{{- 'SPACE' + message['content']STRIP + eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
)


def mistral_reference(tokenizer: Any) -> str | None:
    """The reference's template for a Mistral Instruct tokenizer (v1 or v3, SentencePiece); None for any other."""
    template = str(tokenizer.chat_template or "")
    if "[INST]" not in template or "<<SYS>>" in template:
        return None
    # A tokenizer that puts a space before every piece that follows a control token needs none in the template.
    ids = tokenizer(tokenizer.eos_token + "Hi", add_special_tokens=False)["input_ids"]
    if tokenizer.convert_ids_to_tokens(tokenizer("Hi", add_special_tokens=False)["input_ids"])[:1] != ["▁Hi"]:
        return None
    space = "" if tokenizer.convert_ids_to_tokens(ids)[-1] == "▁Hi" else " "
    v3 = tokens.control_pattern(tokenizer).fullmatch("[INST]") is not None
    opened, closed = ("[INST]" + space, "[/INST]") if v3 else (space + "[INST] ", " [/INST]")
    # In v1 [INST] follows </s>, in v3 the answer follows the token [/INST]; in v1 it follows text.
    answer = space if v3 else " "
    last_user = "loop.index0 == (turns | length - 1) // 2 * 2"
    return (
        _TEMPLATE.replace("OPEN", opened)
        .replace("CLOSE", closed)
        .replace("SPACE", answer)
        .replace("STRIP", ".rstrip(' ')" if v3 else "")
        .replace("SYSTEM", last_user if v3 else "loop.first")
    )


def difference(tokenizer: Any) -> str:
    """A line that says how the tokenizer's template differs from the reference; empty where it does not."""
    reference = mistral_reference(tokenizer)
    if reference is None:
        return ""
    chat = [{"role": role, "content": "Hi"} for role in ("user", "assistant", "user", "assistant")]
    own, other = (
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=True, return_dict=False)
        for template in (None, reference)
    )
    if own == other:
        return ""
    index = next(n for n, (a, b) in enumerate(zip([*own, None], [*other, None], strict=False)) if a != b)
    found, wanted = (" ".join(tokenizer.convert_ids_to_tokens(ids[index : index + 3])) for ids in (own, other))
    return (
        f"The chat template of {tokenizer.name_or_path} is followed. It differs from mistral-common's reference "
        f"encoder (from token {index} on: {found} against {wanted}); chat_template='mistral-reference' takes that one."
    )
