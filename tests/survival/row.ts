/**
 * A row of the catalogue of bad input and faults, and how the name of a test says which rows it acts out.
 *
 * The answers that a row may expect:
 *
 * | Answer | What the switch does |
 * | --- | --- |
 * | OK | works, as it must |
 * | R1 | returns the chain unused, counts it, goes on with the ring |
 * | R2 | lets the ring rest until it is stopped and started again |
 * | R3 | disconnects the front-end, or the back-end |
 * | R4 | refuses the request and goes on; disconnects where the request cannot be refused |
 *
 * Whatever the answer, to survive means: the process lives, no other port notices, everything is given
 * back, and the port works again after a clean reconnect.
 *
 * @module
 */

/**
 * Who misbehaves: a guest (G), a front-end (F), a back-end (B), or who sends frames (L); or nobody, and
 * something fails (X).
 */
export type Group = "G" | "F" | "B" | "L" | "X";

/** One kind of bad input, or a fault. */
export interface Row {
  /** Group and number, such as `G07`. */
  readonly id: string;
  /** What happens, in a few words. */
  readonly what: string;
  /** What the switch must answer. */
  readonly answer: string;
  /** Why no test can act it out; absent when one can. */
  readonly reason?: string;
}

/** The groups in the order of the table, each with its number of rows and what misbehaves. */
export const GROUPS: readonly {
  readonly letter: Group;
  readonly title: string;
  readonly rows: number;
}[] = [
  { letter: "G", title: "guests", rows: 100 },
  { letter: "F", title: "front-ends", rows: 99 },
  { letter: "B", title: "back-ends", rows: 25 },
  { letter: "L", title: "frames", rows: 24 },
  { letter: "X", title: "faults", rows: 32 },
];

/** What a test's name says in parentheses. */
const PARENTHESES = /\(([^()]*)\)/g;
/** An id, or the first and the last of several. */
const IDS = /\b([GFBLX])(\d{2,3})(?:\s?[–-]\s?\1(\d{2,3}))?(?!\d)/g;

/** A row as a list: what comes last is left out as a rule. */
export type RowTuple = readonly [
  id: string,
  what: string,
  answer: string,
  reason?: string,
];

/** Rows from what the lists hold. */
export function rowsOf(rows: readonly RowTuple[]): Row[] {
  return rows.map(([id, what, answer, reason]) => ({
    ...{ id, what, answer },
    ...(reason !== undefined && { reason }),
  }));
}

/**
 * Finds the rows that a test acts out: ids in parentheses, `(F04, F05)`, or the first and the last of
 * several, `(F04–F06)`.
 *
 * @param name The test's name.
 */
export function idsIn(name: string): Set<string> {
  const ids = new Set<string>();
  for (const [, inside] of name.matchAll(PARENTHESES)) {
    for (const [, group, first, last = first] of inside!.matchAll(IDS)) {
      for (let n = Number(first); n <= Number(last); n++) ids.add(idOf(group as Group, n));
    }
  }
  return ids;
}

function idOf(group: Group, number: number): string {
  return `${group}${String(number).padStart(2, "0")}`;
}
