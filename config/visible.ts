/**
 * Text that others chose, for a terminal.
 *
 * @module
 */

// Control characters, and what ends a line or turns the direction of text around.
// deno-lint-ignore no-control-regex -- these are what must not be written
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/**
 * Writes control characters as `\xNN` or `\uNNNN`: they must not write other lines, nor steer the
 * terminal.
 *
 * @param text The text.
 */
export function visible(text: string): string {
  return text.replaceAll(INVISIBLE, (character) => {
    const code = character.charCodeAt(0);
    const hex = code.toString(16);
    return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex}`;
  });
}
