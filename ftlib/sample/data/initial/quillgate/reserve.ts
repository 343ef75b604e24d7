import { LockError } from "./errors";
import { publish } from "./larkpost";

const HOLD_MINUTES = 11;

export function reserve(skipper: string, query: URLSearchParams) {
  const lock = query.get("lock") ?? "";
  if (Number(query.get("draught")) > Number(query.get("level"))) {
    throw new LockError("TOO_DEEP");
  }
  const id = `bwk-${Date.now()}`;
  publish("reservation.held", { id, skipper, lock, minutes: HOLD_MINUTES });
  return id;
}
