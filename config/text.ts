/**
 * From the bytes of a file to its text.
 *
 * @module
 */
import { TopologyError } from "./diagnostics.ts";

/**
 * Decodes a file.
 *
 * @param data Its bytes.
 * @param fileName Its name for messages.
 * @returns Its text without a byte order mark.
 * @throws {TopologyError} When it is no UTF-8, or has zero characters as UTF-16 and programs do.
 */
export function decodeText(data: Uint8Array, fileName: string): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
    if (!text.includes("\0")) return text;
  } catch {
    // Explained below, like what is UTF-8 by accident.
  }
  throw new TopologyError(fileName, new TextDecoder().decode(data), [{
    line: 1,
    column: 1,
    length: 1,
    reason: "this is not text in UTF-8",
    fix: "save it as UTF-8, or name the file that was meant",
  }]);
}
