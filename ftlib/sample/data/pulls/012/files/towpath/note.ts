const MARKS = ["</s>", "<|im_end|>"];

/** A skipper's note without the control strings of a pasted chat. */
export function cleanNote(note: string): string {
  return MARKS.reduce((text, mark) => text.replaceAll(mark, " "), note);
}
