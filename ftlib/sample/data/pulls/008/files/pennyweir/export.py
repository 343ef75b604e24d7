"""Write the tolls of a day for the toll office."""


def write_day(path, tolls):
    rows = [f"{barge};{grotes}" for barge, grotes in sorted(tolls.items())]
    path.write_text("\n".join(["TLX4", *rows, f"={sum(tolls.values())}"]) + "\n")
