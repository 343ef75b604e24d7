"""03_train's inside: `ftlib.train` is what notebooks call.

What is in which module:

    backends        which backend takes a model on this machine, and the model with its adapter, by each of them
    compiled        the fast path: plain transformers + PEFT, its decoder layers compiled at one fixed shape
    attention       packed rows kept apart: by flex attention, or by a causal kernel where a sequence is one document
    lora            a linear layer and its adapter as one operation
    cross_entropy   the loss from hidden states, without the logits of a whole batch
    whole           weights that are trained whole: embedding and head beside LoRA, or all of them
    batches         rows packed in order, and batches of one fixed shape
    graphed         a step of a small model as one CUDA graph
    flops           the work of a step: the model's, and what the card does
    estimates       memory and time of a step
    planner         what fits the card, and how long it takes
    validation      chat and raw loss apart, weighted by token, from before the first step on
    faults          a NaN loss, a full card
    processes       several processes: a card each, one batch between them, one voice
    record          what a run's folder holds
    from_file       a whole run from a file of settings: `python -m ftlib.train`
"""
