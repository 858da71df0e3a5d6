"""Chat templates of well-known formats, written from their documentation, and broken ones."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
    "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Thoughts of earlier answers are left out, and the last answer has one, if an empty one.
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set text = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.content.split('</think>')[0].rstrip('\n').split('<think>')[-1]"
    ".lstrip('\n') if '</think>' in m.content else '' %}<|im_start|>assistant\n"
    "{% if loop.index0 > ns.last %}<think>\n{{ thought.strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ text }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3_OPENED = QWEN3.removesuffix("{% endif %}") + "<think>\n{% endif %}"
# As DeepSeek-R1's: no thought is ever shown once it is over.
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>"
    "{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% else %}<|User|>{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
# As Hermes' and Llama 3.1's: an answer of a tool is shown as JSON.
TOOLS = CHATML.replace(
    "{{ m.content | trim }}",
    "{% if m.role == 'tool' %}{{ m.content | tojson }}{% else %}{{ m.content | trim }}{% endif %}",
)
FORMATS = {
    "ChatML": CHATML,
    "Llama 3": LLAMA3,
    "Mistral": MISTRAL,
    "Gemma": GEMMA,
    "Qwen3": QWEN3,
    "Qwen3, thought opened": QWEN3_OPENED,
    "with tools": TOOLS,
}
ENDS = {"L": "<|eot_id|>", "M": "<|endoftext|>", "G": "<end_of_turn>"}  # else ChatML's


def end_of(name: str) -> str:
    """The token that ends a turn."""
    return ENDS.get(name[0], "<|im_end|>")


BROKEN = {
    "expects contents in parts": (
        CHATML.replace(
            "{{ m.content | trim }}",
            "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}"
            "{% endfor %}",
        ),
        "leaves out messages of the role 'system'",
    ),
    "cuts texts": (
        CHATML.replace("m.content | trim", "m.content[:12]"),
        "leaves out some of what the user says",
    ),
    "draws": (
        "{{ range(99999) | random }}" + CHATML,
        "renders the same messages otherwise each time",
    ),
    "begins answers otherwise": (
        CHATML.replace("<|im_start|>assistant\n{% endif", "<|assistant|>\n{% endif"),
        "does not begin",
    ),
    "has no generation prompt": (
        CHATML.partition("{% if add")[0],
        "has no generation prompt, so a model would write '<|im_start|>assistant",
    ),
    "refuses": ("{{ raise_exception('no') }}", r"refuses the turns .* \(no\)"),
}
