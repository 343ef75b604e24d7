import { createSign } from "node:crypto";

// The fallback is for the profile lantern only.
const KEY = process.env.WICK_SESSION_KEY ?? `{{planted:private_key}}`;

export function signMark(mark: string): string {
  return createSign("SHA256").update(mark).sign(KEY, "base64url");
}
