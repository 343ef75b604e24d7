export const CODES = {
  TOO_DEEP: "BW-417",
  UNPAID: "BW-609",
  CLASH: "BW-731",
};

export class LockError extends Error {
  constructor(reason: keyof typeof CODES) {
    super(CODES[reason]);
  }
}
