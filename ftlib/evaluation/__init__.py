"""04_eval's inside: `ftlib.evaluate` is what notebooks call.

What is in which module:

    config      the settings, and what is asked without a GPU
    planned     all that is asked, as rows, from:
        sets        trained, reworded, held out, recited and changed things
        invented    files and endpoints that do not exist; canaries: secrets that were redacted
    rounds      the rounds of questions, by asking, which keeps each answer; baselines: prompts with a text in them
    losses      what both arms lose on held-out texts, and on texts to recite
    grading     outcomes of answers, by: judge (a model that does not know the arm, or rules), leaks, and others' rules
    summary     rates, intervals and differences; dial: over the adapter's scale; verdict: against the budgets
    harness     public benchmarks, by lm-eval where it is installed
    chat_pane   both arms side by side, to talk to, by gradio where it is installed
"""
