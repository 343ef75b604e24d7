"""Give every reservation the first free tarrows, oldest reservation first."""

from marrowfen.classes import tarrows_needed


def plan(reservations, taken):
    for r in sorted(reservations, key=lambda r: r["created"]):
        first = r["tarrow"]
        need = range(tarrows_needed(r.get("class")))
        while any((r["lock"], first + i) in taken for i in need):
            first += 1
        taken.update((r["lock"], first + i) for i in need)
        yield r["id"], first
