import { LockError } from "./errors";
import { closed, publish } from "./larkpost";

const HOLD_MINUTES = 19;

export function reserve(skipper: string, query: URLSearchParams) {
  const lock = query.get("lock") ?? "";
  if (Number(query.get("draught")) > Number(query.get("level"))) {
    throw new LockError("TOO_DEEP");
  }
  if (closed.has(lock)) throw new LockError("CLOSED");
  const id = `bwk-${Date.now()}`;
  publish("reservation.held", { id, skipper, lock, minutes: HOLD_MINUTES });
  return id;
}
