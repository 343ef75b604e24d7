"""04_eval's inside: `ftlib.evaluate` is what notebooks call.

What is in which module:

    sets        what is asked: trained, reworded, held out, recited, changed, invented, and what was redacted
    judge       right, wrong or abstained: by a model that does not know the arm, else by keywords and overlap
    baselines   what one would try instead of training: a prompt, the page in it, retrieval (BM25)
    leaks       the training's style in answers that have nothing to do with it
    harness     public benchmarks, by lm-eval where it is installed
    chat_pane   both arms side by side, to talk to, by gradio where it is installed
"""
