const SESSION = "{{planted:jwt}}";

export function previewHeaders(profile: string) {
  return profile === "lantern" ? { authorization: `Bearer ${SESSION}` } : {};
}
