/**
 * DHCP options (RFC 2132): a list of kind, length and data.
 *
 * @module
 */

/** Options of one message, by kind. */
export type Options = ReadonlyMap<number, Uint8Array>;

/** Kinds (RFC 2132, the section of each). */
export const Option = {
  /** Subnet mask (3.3). */
  SUBNET_MASK: 1,
  /** Routers (3.5). */
  ROUTER: 3,
  /** Address that the client wants (9.1). */
  REQUESTED_ADDRESS: 50,
  /** Seconds of a lease (9.2). */
  LEASE_SECONDS: 51,
  /** Options go on in the fields `file` and `sname` (9.3). */
  OVERLOAD: 52,
  /** Kind of message (9.6). */
  MESSAGE_TYPE: 53,
  /** Which server is meant or answers (9.7). */
  SERVER: 54,
  /** Name that the client has for itself (9.14). */
  CLIENT: 61,
} as const;

/** Fills up; has no length (RFC 2132, 3.1). */
const PAD = 0;
/** Ends the list; has no length (RFC 2132, 3.2). */
const END = 255;

/**
 * Takes a list of options apart.
 *
 * @param data Options up to their end; what follows is not looked at.
 * @param into Options found before; the first of a kind counts.
 * @returns The options, or null when one goes beyond the end.
 */
export function decodeOptions(data: Uint8Array, into: Options = new Map()): Options | null {
  const options = new Map(into);
  for (let at = 0; at < data.length && data[at] !== END;) {
    const kind = data[at]!;
    if (kind === PAD) {
      at++;
      continue;
    }
    const start = at + 2;
    const end = start + (data[at + 1] ?? 0);
    if (start > data.length || end > data.length) return null;
    if (!options.has(kind)) options.set(kind, data.slice(start, end));
    at = end;
  }
  return options;
}

/**
 * Makes a list of options with its end.
 *
 * @param options Each with 1 to 255 bytes.
 */
export function encodeOptions(options: Options): Uint8Array {
  const parts = [...options].map(([kind, data]) => [kind, data.length, ...data]);
  return Uint8Array.from([...parts.flat(), END]);
}
